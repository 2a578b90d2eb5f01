package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
)

// build compiles the command. It is in the module above, whose requirements ours need not have.
func build() (binary string, remove func(), err error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/hearthcache/hearth").Output()
	if err != nil {
		return "", nil, fmt.Errorf("find the module: %w", err)
	}
	dir, err := os.MkdirTemp("", "hearth-copy-")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "hearth")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/hearth")
	cmd.Dir = string(bytes.TrimSpace(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("build the command: %w\n%s", err, out)
	}
	return binary, func() { os.RemoveAll(dir) }, nil
}

// start starts a server of the kind that a million keys fit in.
func start(kind string) (side, func() error, error) {
	if kind == "redis" {
		s, err := servers.StartRedis(servers.Options{MustBeReal: true, Args: []string{"--save", "", "--appendonly", "no"}})
		if err != nil {
			return nil, nil, err
		}
		r := newRedisSide(s.Addr())
		return r, func() error { r.client.Close(); return s.Close() }, nil
	}
	s, err := servers.StartMemcached(servers.Options{MustBeReal: true, Args: []string{"-m", "2048"}})
	if err != nil {
		return nil, nil, err
	}
	return &memSide{addr: s.Addr()}, s.Close, nil
}

// side is a server, and what the proof does with it without the copier.
type side interface {
	url() string
	fill(from, to int, began time.Time) error
	count() (int, error)
	flush() error
	// list calls yield with parts of the list of all keys.
	list(yield func(keys []string)) error
	// worker returns functions with a connection of their own.
	worker() (worker, error)
	keepsFlags() bool
}

type worker interface {
	read(keys []string, out []entry) error
	write(in []entry) error
	close()
}

// entry is one key. ttl 0 = no end, negative = the key is not there.
type entry struct {
	key   string
	value []byte
	flags uint32
	ttl   time.Duration
}

// rounds of the measurement; the best one counts, for both. Small copies are over so soon that
// more are needed.
func rounds(n int) int {
	if n > 300_000 {
		return 2
	}
	return 3
}

func scenario(binary, from, to string, n int, log io.Writer) (*result, error) {
	src, stopSrc, err := start(from)
	if err != nil {
		return nil, err
	}
	defer stopSrc()
	dst, stopDst, err := start(to)
	if err != nil {
		return nil, err
	}
	defer stopDst()
	began := time.Now()
	if err := inParts(n, 4, func(a, b int) error { return src.fill(a, b, began) }); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	fmt.Fprintf(log, "%s -> %s: %d keys filled in %.1f s\n", from, to, n, time.Since(began).Seconds())
	r := &result{Keys: n}
	for range rounds(n) {
		if err := dst.flush(); err != nil {
			return nil, err
		}
		at := time.Now()
		if err := plain(src, dst); err != nil {
			return nil, fmt.Errorf("plain loop: %w", err)
		}
		r.PlainRate = max(r.PlainRate, float64(n)/time.Since(at).Seconds())
		if err := dst.flush(); err != nil {
			return nil, err
		}
		rep, err := cli(binary, "copy", "--from", src.url(), "--to", dst.url(), "--state", filepath.Join(filepath.Dir(binary), "whole"+strconv.FormatInt(at.UnixNano(), 36)))
		if err != nil {
			return nil, err
		}
		// By its own clock, as the loop: without the start of the process, with its checkpoints.
		r.CopyRate = max(r.CopyRate, rep.Rate)
	}
	r.Ratio = r.CopyRate / r.PlainRate
	if err := dst.flush(); err != nil {
		return nil, err
	}
	if err := killed(binary, src, dst, n, r); err != nil {
		return nil, err
	}
	return r, check(src, dst, n, src.keepsFlags() && dst.keepsFlags(), r)
}

// killed copies, kills the copy half-way and copies on.
func killed(binary string, src, dst side, n int, r *result) error {
	state := filepath.Join(filepath.Dir(binary), "state"+strconv.FormatInt(time.Now().UnixNano(), 36))
	args := []string{"copy", "--json", "--quiet", "--from", src.url(), "--to", dst.url(), "--state", state}
	// Slowly enough that there are checkpoints before the kill.
	first := exec.Command(binary, append(args, "--rate", strconv.Itoa(n/5))...)
	if err := first.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.KilledAt < n/2 {
		select {
		case err := <-ended:
			return fmt.Errorf("the copy ended before it was killed: %v", err)
		case <-tick.C:
		}
		var err error
		if r.KilledAt, err = dst.count(); err != nil {
			return err
		}
	}
	if err := errors.Join(first.Process.Kill()); err != nil { // SIGKILL
		return err
	}
	<-ended
	rep, err := cli(binary, args...)
	if err != nil {
		return fmt.Errorf("copy on: %w", err)
	}
	r.Resumed, r.Repeated, r.CLI = rep.Resumed, rep.Skipped["exists"], rep
	return nil
}

// report is what the proof looks at in the copier's.
type report struct {
	Complete bool           `json:"complete"`
	Resumed  bool           `json:"resumed"`
	Copied   int            `json:"copied"`
	Skipped  map[string]int `json:"skipped"`
	Failed   int            `json:"failed"`
	Rate     float64        `json:"keys_per_second"`
}

func cli(binary string, args ...string) (*report, error) {
	if args[len(args)-1] != "--json" {
		args = append(args, "--json")
	}
	cmd := exec.Command(binary, append(args, "--quiet")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	var r report
	return &r, json.Unmarshal(out, &r)
}
