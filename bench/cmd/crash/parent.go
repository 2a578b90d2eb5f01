package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hearthcache/hearth/writebehind"
)

// world is what outlives the children: the source of record, and what was promised for it.
type world struct {
	mu       sync.Mutex
	row      map[string]int    // the source: number per key
	seq      map[string]uint64 // of the number in the source
	accepted map[string][]int  // numbers per key that the source has to answer for at the next look
	deltas   map[delta]bool    // those that the source has got
	count    int
	ordered  int // how many of count were deltas
	next     int
	wrong    int
	run      map[string]int // newest number that the process at work has applied
}

// delta is an ordered operation that reached the source.
type delta struct {
	key string
	n   int
}

// apply is "store if newer", as a sink should be: a repeat after a crash is not a violation. One
// is an older number after a newer one from the same process, and a newer number under an older
// sequence, which makes the source keep the older number.
func (w *world) apply(key string, n int, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if isDelta(key) {
		if w.deltas[delta{key, n}] = true; n < w.run[key] {
			w.wrong++
		}
		w.run[key] = n
		return
	}
	if (n > w.row[key] && seq < w.seq[key]) || (n < w.row[key] && seq > w.seq[key]) {
		w.wrong++
	}
	if n < w.run[key] {
		w.wrong++
	}
	w.run[key] = n
	if seq >= w.seq[key] {
		w.row[key], w.seq[key] = n, seq
	}
}

func (w *world) accept(key string, n int) {
	w.accepted[key] = append(w.accepted[key], n)
	w.next = max(w.next, n+1)
	w.count++
	if isDelta(key) {
		w.ordered++
	}
}

func isDelta(key string) bool { return strings.HasPrefix(key, deltaPrefix) }

func crash(level string, rounds int, quiet bool) (result, error) {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	w := &world{
		row: map[string]int{}, seq: map[string]uint64{}, accepted: map[string][]int{}, deltas: map[delta]bool{}, next: 1,
	}
	path := filepath.Join(dir, "journal")
	server := &redisServer{dir: dir}
	defer server.kill()
	res := result{}
	for res.Rounds < rounds {
		if level == "stream" {
			if err := server.start(); err != nil {
				return res, err
			}
		}
		if err := w.round(level, path, server); err != nil {
			return res, err
		}
		res.Rounds++
		// Half of the rounds follow on each other without a recovery in between.
		if res.Rounds%2 == 1 && res.Rounds < rounds {
			continue
		}
		if level == "stream" {
			if err := server.start(); err != nil {
				return res, err
			}
		}
		if err := w.recover(level, path, server.addr); err != nil {
			return res, fmt.Errorf("round %d: %w", res.Rounds, err)
		}
		res.Lost += w.lost()
		if !quiet {
			fmt.Printf("%-8s round %2d: %d accepted, %d lost, %d out of order\n", level, res.Rounds, w.count, res.Lost, w.wrong)
		}
	}
	res.Accepted, res.Deltas, res.Violations = w.count, w.ordered, w.wrong
	return res, nil
}

// round runs one child until it is killed, and the server with it.
func (w *world) round(level, path string, server *redisServer) error {
	w.run = map[string]int{}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childLevel+"="+level, childPath+"="+path, childRedis+"="+server.addr,
		childFrom+"="+strconv.Itoa(w.next))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var fuse *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var what, key string
		var n int
		var seq uint64
		fields, _ := fmt.Sscan(lines.Text(), &what, &key, &n, &seq)
		switch {
		case what == "ready":
			after := 100*time.Millisecond + rand.N(400*time.Millisecond)
			fuse = time.AfterFunc(after, func() {
				if rand.IntN(2) == 0 {
					server.kill() // first the one, first the other
				}
				cmd.Process.Kill()
				server.kill()
			})
		case what == "error":
			err = fmt.Errorf("child: %s", lines.Text())
		case fields < 4: // cut by the kill
		case what == "accepted":
			w.accept(key, n)
		case what == "applied":
			w.apply(key, n, seq)
		}
	}
	cmd.Wait()
	if fuse == nil && err == nil {
		err = fmt.Errorf("the child ended before it was killed")
	}
	return err
}

// recover delivers what the journal holds, in this process.
func (w *world) recover(level, path, addr string) error {
	journal, closeClient, err := open(level, path, addr)
	if err != nil || journal == nil {
		return err
	}
	defer closeClient()
	w.run = map[string]int{}
	q, err := writebehind.New(writebehind.Config[int]{
		Journal: journal,
		Sink: writebehind.SinkFunc[int](func(_ context.Context, ops []writebehind.Op[int]) error {
			for _, o := range ops {
				w.apply(o.Key, numberOf(o), o.Seq)
			}
			return nil
		}),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for { // a shared journal is delivered once the leases of the dead have run out
		left := 0
		if err := journal.Replay(ctx, func(writebehind.Record) error { left++; return nil }); err != nil {
			return err
		}
		if left == 0 {
			return q.Close(ctx)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lost counts the accepted writes that the source does not answer for, as [lostMeans] says, and
// begins anew.
func (w *world) lost() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, numbers := range w.accepted {
		for _, want := range numbers {
			if isDelta(key) && !w.deltas[delta{key, want}] || !isDelta(key) && w.row[key] < want {
				n++
			}
		}
	}
	clear(w.accepted)
	clear(w.deltas)
	return n
}

// redisServer is a server that keeps everything it has confirmed: appendfsync always.
type redisServer struct {
	dir, addr string
	mu        sync.Mutex
	cmd       *exec.Cmd
}

func (s *redisServer) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	if s.addr == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.addr = l.Addr().String()
		l.Close()
	}
	_, port, _ := net.SplitHostPort(s.addr)
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	for range 500 {
		if answers(s.addr) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("redis-server at %s does not answer", s.addr)
}

// answers asks for PING, so that a server that is still loading its file is not taken as ready.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return line == "+PONG\r\n"
}

func (s *redisServer) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}
