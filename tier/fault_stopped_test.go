//go:build unix

package tier

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pausedEnv holds the address of the server in the process that is going to be paused.
const pausedEnv = "HEARTH_TEST_PAUSED"

// A real process is stopped while it loads, for longer than its lease; another one has loaded a
// newer value by the time it goes on.
func TestFault_StoppedProcessFillsNothingWhenItGoesOn(t *testing.T) {
	if addr := os.Getenv(pausedEnv); addr != "" {
		loadWhilePaused(t, addr)
		return
	}
	t.Parallel()
	ctx := context.Background()
	w := throughProxy(t, "redis")
	stopped, in, out := startPaused(t, w.srv.Addr())
	hear(t, out, "loading")
	if err := stopped.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a := admin(t, w)
	for deadline := time.Now().Add(faultRecover); a.Exists(ctx, "t:k").Val() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the lease of a stopped process does not run out")
		}
	}
	src := newSource("k", "new")
	cfg := over(src, w)
	cfg.Local.Disabled = true
	c := open(t, cfg)
	v, err := c.Get(ctx, "k")
	want(t, v, err, "new")
	if _, err := io.WriteString(in, "go on\n"); err != nil {
		t.Fatal(err)
	}
	if err := stopped.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	hear(t, out, "got old, 0 filled, 1 lost") // its reader began before the change
	hear(t, out, "then new")
	v, err = c.Get(ctx, "k")
	want(t, v, err, "new")
	if src.count() != 1 {
		t.Errorf("%d loads, want 1", src.count())
	}
}

// loadWhilePaused is the process that is stopped: its load ends when it is told to.
func loadWhilePaused(t *testing.T, addr string) {
	ctx, in := context.Background(), bufio.NewReader(os.Stdin)
	cfg := over(nil, dial(t, "redis", addr))
	cfg.Local.Disabled, cfg.Load.Lease = true, 300*time.Millisecond
	cfg.Remotes[0].Timeout = faultRecover
	c := open(t, cfg)
	v, err := c.GetOrLoad(ctx, "k", func(context.Context, string) (string, error) {
		fmt.Println("loading")
		_, err := in.ReadString('\n')
		return "old", err
	})
	s := c.Stats().Remotes[0]
	fmt.Printf("got %s, %d filled, %d lost %v\n", v, s.Fills, s.FillsLost, err)
	v, err = c.Get(ctx, "k")
	fmt.Println("then", v, err)
}

// startPaused starts this test in a process of its own, which ends with the test.
func startPaused(t *testing.T, addr string) (cmd *exec.Cmd, in io.Writer, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^TestFault_StoppedProcessFillsNothingWhenItGoesOn$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), pausedEnv+"="+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // stopped or not
		_ = cmd.Wait()
	})
	return cmd, in, bufio.NewScanner(lines)
}

// hear waits for a line that begins with what is wanted; the process ends by its own timeout.
func hear(t *testing.T, out *bufio.Scanner, want string) {
	t.Helper()
	if !out.Scan() || !strings.HasPrefix(out.Text(), want) {
		t.Fatalf("heard %q, %v; want %q", out.Text(), out.Err(), want)
	}
}
