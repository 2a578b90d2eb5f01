package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// startWithin bounds the wait for the first answer; a loaded machine needs
	// a second or two, a server that hangs must not hang the test.
	startWithin = 15 * time.Second
	// stopWithin bounds a graceful end before the process is killed.
	stopWithin = 5 * time.Second
	// probeEvery is the pause between two looks at a starting server.
	probeEvery = 5 * time.Millisecond
)

// process is the engine that runs a program.
type process struct {
	binary string
	dir    string
	orphan bool // see Options
	args   func(addr string) []string
	// ready returns nil once the process pid itself answers at addr.
	ready func(addr string, pid int) error

	child *child
}

// child is one run of the program.
type child struct {
	os   *os.Process
	gone chan struct{} // closed when the process has ended and was waited for
}

func (p *process) start(addr string) error {
	if p.running() {
		return fmt.Errorf("servers: %s runs already", p.binary)
	}
	c, err := p.spawn(p.args(addr))
	if err != nil {
		return err
	}
	p.child = c
	if err := p.awaitReady(addr); err != nil {
		return errors.Join(fmt.Errorf("servers: %s at %s: %w\n%s", p.binary, addr, err, p.log()), p.kill())
	}
	return nil
}

// awaitReady polls until the child answers, ends, or the time is over.
func (p *process) awaitReady(addr string) error {
	deadline := time.NewTimer(startWithin)
	defer deadline.Stop()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := p.ready(addr, p.child.os.Pid)
		if err == nil {
			return nil
		}
		select {
		case <-p.child.gone:
			return errors.New("ended while starting")
		case <-deadline.C:
			return fmt.Errorf("not ready within %s: %w", startWithin, err)
		case <-tick.C:
		}
	}
}

func (p *process) stop() error {
	if !p.running() {
		return nil
	}
	// A frozen process acts on the request to end only after it runs again.
	if err := p.resume(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return p.kill()
	}
	timeout := time.NewTimer(stopWithin)
	defer timeout.Stop()
	select {
	case <-p.child.gone:
		return nil
	case <-timeout.C:
		return p.kill()
	}
}

func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	<-p.child.gone
	return nil
}

func (p *process) pause() error  { return p.freeze(true) }
func (p *process) resume() error { return p.freeze(false) }

func (p *process) freeze(on bool) error {
	if !p.running() {
		return fmt.Errorf("servers: %s does not run", p.binary)
	}
	sig, ok := freezeSignal(on)
	if !ok {
		return fmt.Errorf("servers: freezing a process: %w", errors.ErrUnsupported)
	}
	if err := p.signal(sig); err != nil || !on {
		return err
	}
	return awaitFrozen(p.child.os.Pid)
}

// signal goes through the process handle, which cannot reach a stranger that
// has got the same process id meanwhile.
func (p *process) signal(sig os.Signal) error {
	err := p.child.os.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *process) pid() int {
	if !p.running() {
		return 0
	}
	return p.child.os.Pid
}

func (p *process) log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, logName(p.binary)))
	if err != nil {
		return ""
	}
	return string(b)
}

func (p *process) running() bool {
	if p.child == nil {
		return false
	}
	select {
	case <-p.child.gone:
		return false
	default:
		return true
	}
}

// spawn starts the program and waits for it on a thread of its own. The kernel's
// "signal me when my parent dies" means the parent thread, and the Go runtime may
// end threads as it likes; so the thread that starts the child is locked and
// stays in Wait for as long as the child lives.
func (p *process) spawn(args []string) (*child, error) {
	out, err := os.OpenFile(filepath.Join(p.dir, logName(p.binary)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	cmd := exec.Command(p.binary, args...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = out, out // a file: no copying goroutine
	if !p.orphan {
		cmd.SysProcAttr = dieWithParent()
	}

	c := &child{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(c.gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = out.Close() // the child has its own handle
		c.os = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // a killed server's exit status is no news
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	return c, nil
}

func logName(binary string) string {
	return strings.TrimSuffix(filepath.Base(binary), ".exe") + ".log"
}
