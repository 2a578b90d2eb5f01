//go:build unix

package tracking

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/tier"
)

// sleeper is the environment variable that makes the test binary a process to be stopped; busy is
// the one that makes it keep all its processors busy.
const (
	sleeper = "HEARTH_TRACKING_SLEEPER"
	busy    = "HEARTH_TRACKING_BUSY"
)

// A process that was stopped for longer than DeadAfter must not go on serving what it had: as
// soon as the clock of its L1 ticks again, what changed meanwhile is seen.
func TestWatch_AStoppedProcessDoesNotGoOnServingWhatItHad(t *testing.T) {
	stopAndGoOn(t)
}

// The clock's goroutine has to get a processor first. With all of them taken it waits for the
// scheduler, not for anybody to give way.
func TestWatch_AStoppedProcessThatIsBusyDoesNotGoOnServingWhatItHad(t *testing.T) {
	stopAndGoOn(t, busy+"=1")
}

func stopAndGoOn(t *testing.T, env ...string) {
	t.Helper()
	addr := server(t)
	c := connect(t, addr)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSleeper$")
	cmd.Env = append(append(os.Environ(), sleeper+"="+addr), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	set(t, c, "source:k")
	if err := c.Del(t.Context(), "sleep:k").Err(); err != nil { // of an earlier run
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		for lines.Scan() {
			what, got, _ := strings.Cut(lines.Text(), " ")
			if what == want {
				if now := c.Get(t.Context(), "source:k").Val(); got != now {
					t.Errorf("%s: it serves %q, the record is %q", what, got, now)
				}
				return
			}
		}
		t.Fatalf("the process ended before it said %q", want)
	}
	for range 2 {
		expect("cached")
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		set(t, c, "source:k")
		if err := c.Del(t.Context(), "sleep:k").Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stopped) // real time is what the process must notice
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		expect("resumed")
	}
}

// stopped is how long the process does not run; several times its dead-after.
const stopped = 2 * time.Second

// atMost is how long a process that goes on may be held up before its clock ticks: a tick, and what
// the scheduler needs on a machine that is busy with other tests.
const atMost = 3 * time.Second

// TestSleeper is the process to be stopped, when it is started as such.
func TestSleeper(t *testing.T) {
	addr := os.Getenv(sleeper)
	if addr == "" {
		return
	}
	go func() { // whoever started us is gone: so are we
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	client := connect(t, addr)
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const deadAfter = 500 * time.Millisecond
	cache, err := tier.New(tier.Config[string]{
		Namespace: "sleep",
		Local:     tier.Local[string]{Invalidator: source(t, client, Config{Namespace: "sleep", Ping: 50 * time.Millisecond, DeadAfter: deadAfter}), DeadAfter: deadAfter, TTL: time.Hour},
		Remotes:   []tier.Remote{{Name: "redis", Store: store, Timeout: 10 * time.Second}},
		Loader:    record{client},
	})
	if err != nil {
		t.Fatal(err)
	}
	enough := 200 // hits, to know that it is in L1 and stays there
	if os.Getenv(busy) != "" {
		enough = 20
		for range 2 * runtime.GOMAXPROCS(0) {
			go func() {
				for t.Context().Err() == nil { // it only takes time
				}
			}()
		}
	}
	hits, last, before := 0, time.Now(), ""
	for {
		at := time.Now()
		resumed := at.Sub(last) > stopped*9/10 // no scheduler holds it up for that long
		v, err := cache.Get(t.Context(), "k")
		for resumed && err == nil && v == before && time.Since(at) < atMost {
			v, err = cache.Get(t.Context(), "k") // as hard as it can, until the clock has ticked
		}
		if err != nil {
			t.Fatal(err)
		}
		before = v
		if resumed {
			fmt.Println("resumed", v)
			hits = 0
		}
		last = at // also a stop in the middle of this round is seen in the next
		if e, err := cache.Lookup(t.Context(), "k"); err == nil && e.Source == "L1" {
			hits++
			if hits == enough {
				fmt.Println("cached", v)
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// record loads the one record there is.
type record struct{ client *goredis.Client }

func (r record) Load(ctx context.Context, _ string) (string, error) {
	return r.client.Get(ctx, "source:k").Result()
}
