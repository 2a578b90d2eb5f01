package writethrough_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

// Each round, 16 writers in 4 processes (or caches) set one key at the same time. When they have
// all come back, the cache must hold what the source holds, or nothing.
const (
	processes = 4
	perCache  = 4
	key       = "k"
)

// table is a source of record in this process, with answers that take a while.
type table struct {
	mu sync.Mutex
	v  string
}

func (s *table) Write(_ context.Context, ms mutations) error {
	s.mu.Lock()
	for _, m := range ms {
		s.v = m.Value
	}
	s.mu.Unlock()
	time.Sleep(rand.N(200 * time.Microsecond)) // the commit is done, the answer is on its way
	return nil
}

func (s *table) Load(context.Context, string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.v == "" {
		return "", tier.ErrMiss
	}
	return s.v, nil
}

// overTiers is a cache over stores, nearest first, that writes through to sink.
func overTiers(t testing.TB, sink writethrough.Sink[string], cfg tier.Config[string], stores ...backends.Store) *tier.Cache[string] {
	t.Helper()
	if sink != nil {
		cfg.Writer = open(t, writethrough.Config[string]{Sink: sink})
	}
	cfg.Namespace = "w"
	for i, s := range stores {
		cfg.Remotes = append(cfg.Remotes, tier.Remote{Name: fmt.Sprint("tier", i), Store: s, Timeout: 5 * time.Second})
	}
	c, err := tier.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// raceInProcess returns after how many rounds some cache (its L1 included) or tier held something
// other than the source, and how often a cache still had a value.
func raceInProcess(t *testing.T, rounds int, readers bool) (wrong, kept int) {
	near, far, src := memory.New(memory.Config{}), memory.New(memory.Config{}), &table{}
	var caches []*tier.Cache[string]
	for range processes {
		cfg := tier.Config[string]{Local: tier.Local[string]{Invalidator: far}}
		if readers {
			cfg.Loader = src
		}
		caches = append(caches, overTiers(t, src, cfg, near, far))
	}
	check := overTiers(t, nil, tier.Config[string]{Local: tier.Local[string]{Disabled: true}}, near, far)
	for round := range rounds {
		var writers, others sync.WaitGroup
		stop := make(chan struct{})
		for i, c := range caches {
			for j := range perCache {
				writers.Go(func() {
					if err := c.Set(t.Context(), key, fmt.Sprintf("%d.%d.%d", round, i, j)); err != nil {
						t.Error(err)
					}
				})
			}
			if readers {
				others.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_, _ = c.Get(t.Context(), key)
						}
					}
				})
			}
		}
		writers.Wait()
		close(stop)
		others.Wait()
		is, _ := src.Load(t.Context(), key)
		bad := false
		for _, c := range append([]*tier.Cache[string]{check}, caches...) {
			e, err := c.Lookup(t.Context(), key)
			switch {
			case errors.Is(err, tier.ErrMiss):
			case err != nil:
				t.Fatal(err)
			case e.Value != is:
				bad = true
			default:
				kept++
			}
		}
		if bad {
			wrong++
		}
	}
	return wrong, kept
}

func TestWrite_RacingWritersLeaveTheSourcesValueOrNone(t *testing.T) {
	for readers, rounds := range map[bool]int{false: 150, true: 20} { // readers take their time
		wrong, kept := raceInProcess(t, rounds, readers)
		t.Logf("readers %v: %d of %d rounds wrong, a value was kept %d times", readers, wrong, rounds, kept)
		if wrong > 0 {
			t.Errorf("a cache held another value than the source after %d of %d rounds", wrong, rounds)
		}
	}
}

func TestWrite_RacingWritersWithoutTheFenceLeaveALosersValue(t *testing.T) {
	defer fence.Remove(fence.Seize)()
	wrong, _ := raceInProcess(t, 100, false)
	t.Logf("%d of 100 rounds wrong", wrong)
	if wrong <= 10 {
		t.Errorf("%d of 100 rounds wrong: this test cannot see the race", wrong)
	}
}

// recordIn is a source of record in a Redis, for several processes.
type recordIn struct{ client *goredis.Client }

func (s recordIn) Write(ctx context.Context, ms mutations) error {
	for _, m := range ms {
		if err := s.client.Set(ctx, "source:"+m.Key, m.Value, 0).Err(); err != nil {
			return err
		}
	}
	time.Sleep(rand.N(500 * time.Microsecond))
	return nil
}

// childEnv names the servers for a child process: the source's and the cache's addresses.
const childEnv = "HEARTH_WRITETHROUGH_RACE"

// child sets the key from perCache goroutines for each line on stdin, then answers with a line.
func child(kind, source, addr, without string) error {
	if without != "" {
		fence.Remove(fence.Seize)
	}
	s, err := connect(kind, addr)
	if err != nil {
		return err
	}
	w, err := writethrough.New(writethrough.Config[string]{Sink: recordIn{goredis.NewClient(redis.Options(source))}})
	if err != nil {
		return err
	}
	c, err := tier.New(tier.Config[string]{
		Namespace: "w", Writer: w, Local: tier.Local[string]{Disabled: true},
		Remotes: []tier.Remote{{Name: kind, Store: s, Timeout: 5 * time.Second}},
	})
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var wg sync.WaitGroup
		for j := range perCache {
			wg.Go(func() {
				if err := c.Set(context.Background(), key, fmt.Sprintf("%s.%d.%d", lines.Text(), os.Getpid(), j)); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			})
		}
		wg.Wait()
		fmt.Println("done")
	}
	return nil
}

func connect(kind, addr string) (backends.Store, error) {
	if kind == "redis" {
		return redis.New(goredis.NewClient(redis.Options(addr)), redis.Config{})
	}
	return memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: 5 * time.Second})
}

// raceProcesses plays rounds with 4 processes on real servers and returns how many ended wrong.
func raceProcesses(t *testing.T, kind string, rounds int, without string) (wrong, kept int) {
	source := serverstest.Redis(t)
	addr := source.Addr()
	if kind == "memcached" {
		addr = serverstest.Memcached(t).Addr()
	}
	ins, outs := make([]io.Writer, processes), make([]*bufio.Scanner, processes)
	for i := range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{kind, source.Addr(), addr, without}, " "))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close() // the child ends with its input
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		ins[i], outs[i] = in, bufio.NewScanner(out)
	}
	client := goredis.NewClient(redis.Options(source.Addr()))
	defer client.Close()
	s, err := connect(kind, addr)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := s.(*memcached.Store); ok {
		defer m.Close()
	}
	check := overTiers(t, nil, tier.Config[string]{Local: tier.Local[string]{Disabled: true}}, s)
	for round := range rounds {
		for _, in := range ins {
			fmt.Fprintln(in, round)
		}
		for _, out := range outs {
			if !out.Scan() {
				t.Fatal("a child has ended")
			}
		}
		is, err := client.Get(t.Context(), "source:"+key).Result()
		if err != nil {
			t.Fatal(err)
		}
		switch v, err := check.Get(t.Context(), key); {
		case errors.Is(err, tier.ErrMiss):
		case err != nil:
			t.Fatal(err)
		case v != is:
			wrong++
		default:
			kept++
		}
	}
	return wrong, kept
}

func TestWrite_RacingProcessesLeaveTheSourcesValueOrNone(t *testing.T) {
	for _, kind := range []string{"redis", "memcached"} {
		t.Run(kind, func(t *testing.T) {
			const rounds = 150
			wrong, kept := raceProcesses(t, kind, rounds, "")
			t.Logf("%d of %d rounds wrong, %d kept a value", wrong, rounds, kept)
			if wrong > 0 {
				t.Errorf("the cache held another value than the source after %d rounds", wrong)
			}
			wrong, _ = raceProcesses(t, kind, rounds, "without")
			t.Logf("%d of %d rounds wrong without the fence", wrong, rounds)
			if wrong <= rounds/10 {
				t.Errorf("%d of %d rounds wrong without the fence: this test cannot see the race", wrong, rounds)
			}
		})
	}
}
