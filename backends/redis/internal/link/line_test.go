package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// fake is a server that greets, answers pings, and after the first one says what the test says.
// "PONG" in the script is the right answer to the next ping.
func fake(t *testing.T, script ...string) *goredis.Options {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			cn, err := lis.Accept()
			if err != nil {
				return
			}
			go serve(cn, script)
		}
	}()
	return &goredis.Options{Addr: lis.Addr().String(), DisableIdentity: true}
}

func serve(cn net.Conn, script []string) {
	defer cn.Close()
	r := bufio.NewReader(cn)
	pings := 0
	for {
		args, err := command(r)
		if err != nil {
			return
		}
		switch strings.ToLower(args[0]) {
		case "hello":
			fmt.Fprint(cn, "%1\r\n+proto\r\n:3\r\n")
		case "ping":
			reply := "PONG"
			if pings > 0 && pings <= len(script) {
				reply = script[pings-1]
			}
			pings++
			pong := fmt.Sprintf("$%d\r\n%s\r\n", len(args[1]), args[1])
			fmt.Fprint(cn, strings.ReplaceAll(reply, "PONG", pong))
			if strings.HasSuffix(reply, "$CUT") {
				return
			}
		default:
			fmt.Fprint(cn, "+OK\r\n")
		}
	}
}

// command reads one RESP array of strings.
func command(r *bufio.Reader) ([]string, error) {
	number := func(mark byte) (int, error) {
		l, err := r.ReadString('\n')
		if err != nil || l[0] != mark {
			return 0, errors.Join(err, errors.New("no "+string(mark)))
		}
		return strconv.Atoi(strings.TrimSpace(l[1:]))
	}
	n, err := number('*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		for got := 0; got < len(b); {
			m, err := r.Read(b[got:])
			if err != nil {
				return nil, err
			}
			got += m
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

var fast = Timing{Ping: 10 * time.Millisecond, DeadAfter: 300 * time.Millisecond}

// run runs a line and reports what it heard.
func run(t *testing.T, l Line) (pushes int, up bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l.Timing = fast
	l.Up = func() { up = true }
	l.Heard = func() {}
	l.Push = func(frame []any) error {
		if _, ok := frame[1].([]any); !ok {
			return errors.New("unknown shape")
		}
		pushes++
		return nil
	}
	err = l.Run(ctx)
	if ctx.Err() != nil {
		t.Error("it was not noticed")
	}
	return pushes, up, err
}

const good = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"

func TestRun_EndsAtTheFirstThingItDoesNotUnderstand(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		pushes             int
	}{
		{"a good push, then a wrong number", good + "$3\r\n777\r\n", "out of step", 1},
		{"a reply without a question", good + "PONGPONG", "out of step", 1},
		{"a push of another shape", ">2\r\n$10\r\ninvalidate\r\n:5\r\nPONG", "unknown shape", 0},
		{"a push of another name", ">2\r\n$10\r\ninvalidatx\r\n*1\r\n$1\r\nk\r\nPONG", "unexpected push", 0},
		{"a push whose name is a number", ">2\r\n:5\r\n*1\r\n$1\r\nk\r\nPONG", "unexpected push", 0},
		{"a push of nothing", ">0\r\nPONG", "unexpected push", 0},
		{"a push whose keys cannot be read", ">2\r\n$10\r\ninvalidate\r\n*x\r\nPONG", "unreadable push", 0},
		{"a push cut in its name", ">2\r\n$10\r\ninval$CUT", "EOF", 0},
		{"a push cut in a key", ">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nk\r\n$5\r\nab$CUT", "EOF", 0},
		{"a push cut between frames", good + ">$CUT", "EOF", 1},
		{"a length that lies", ">2\r\n$10\r\ninvalidate\r\n*3\r\n$1\r\nk\r\nPONG", "silent", 0},
		{"garbage", "!!\r\n", "", 0},
		{"an empty array, which the client indexes into", "*0\r\n", "unreadable", 0},
		{"a number", ":1\r\n", "unsupported", 0},
		{"the end of a subscription: the slot of the channel has left the node", ">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\nPONG", "ended the subscription", 0},
		{"an error", "-ERR go away\r\n", "go away", 0},
		{"a message nobody asked for", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n", "unexpected message", 0},
		{"silence", "", "silent", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := []string{c.script}
			if c.script == "" || c.want == "silent" {
				script = append(script, make([]string, 200)...)
			}
			pushes, up, err := run(t, Line{Node: fake(t, script...)})
			if !up || pushes != c.pushes || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("up %v, %d pushes, %v; want %d and %q", up, pushes, err, c.pushes, c.want)
			}
		})
	}
}

func TestRun_APushNobodyAskedForEndsIt(t *testing.T) {
	l := Line{Node: fake(t, good+"PONG"), Timing: fast, Up: func() {}, Heard: func() {}}
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "unexpected push") {
		t.Errorf("got %v", err)
	}
}

// Sensitivity: without the numbers, a stream of replies that is out of step goes on, and only
// its end is seen.
func TestRun_OutOfStepRepliesAreSeenByTheirNumbers(t *testing.T) {
	_, _, err := run(t, Line{Node: fake(t, "$3\r\n777\r\n", "PONG", "PONG", "$CUT"), trusting: true})
	if strings.Contains(fmt.Sprint(err), "out of step") {
		t.Errorf("seen without the numbers: %v", err)
	}
}

func TestRun_EndsWithItsCtxWhateverTheServerDoes(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	l := Line{Node: &goredis.Options{Addr: lis.Addr().String()}, Timing: Timing{Ping: time.Hour, DeadAfter: 2 * time.Hour}}
	if err := l.Run(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestRun_AServerThatOnlyAcceptsIsSilent(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	if err := (Line{Node: &goredis.Options{Addr: lis.Addr().String()}, Timing: fast}).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

// A master that Sentinel has replaced may live on: it answers pings, and nothing changes on it any
// more.
func TestRun_LeavesAMasterThatIsNoneAnyMore(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		leaves     bool
	}{
		{"found by Sentinel", sentinels, true},
		{"named", "somewhere:6379", false}, // sensitivity: nobody looks
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := fake(t), fake(t)
			var now atomic.Pointer[string]
			now.Store(&before.Addr)
			dials := make(chan string, 100)
			node := &goredis.Options{Addr: c.addr, DisableIdentity: true, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
				addr := *now.Load()
				dials <- addr
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			up, ended := make(chan struct{}), make(chan error, 1)
			l := Line{Node: node, Timing: Timing{Ping: 5 * time.Millisecond, DeadAfter: 20 * time.Second}, Up: func() { close(up) }, Heard: func() {}}
			go func() { ended <- l.Run(ctx) }()
			<-up
			if c.leaves {
				<-dials // the line's own
				<-dials // and one that has looked, and seen the same server
				now.Store(&after.Addr)
				select {
				case <-ended:
				case <-time.After(15 * time.Second):
					t.Error("it still listens to the old one")
				}
				return
			}
			now.Store(&after.Addr)
			select {
			case err := <-ended:
				t.Errorf("it ended: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			cancel()
			<-ended
		})
	}
}

func TestTiming_Defaults(t *testing.T) {
	if got, err := (Timing{}).WithDefaults("x"); err != nil || got != (Timing{time.Second, 3 * time.Second}) {
		t.Error(got, err)
	}
}
