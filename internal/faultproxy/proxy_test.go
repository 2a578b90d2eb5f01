package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is how long silence is watched for: the loopback needs microseconds.
const quiet = 60 * time.Millisecond

// echo starts a server that sends back what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, p *faultproxy.Proxy) *net.TCPConn {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// say sends the text and returns what comes back, as much as was sent.
func say(c net.Conn, text string) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	p := make([]byte, len(text))
	n, err := io.ReadFull(c, p)
	return string(p[:n]), err
}

func mustSay(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if got, err := say(c, text); err != nil || got != text {
		t.Fatalf("said %q, got %q, %v", text, got, err)
	}
}

// mustBeSilent fails if anything arrives, even the end of the connection.
func mustBeSilent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v, want silence", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestProxy_GoodNetworkPassesEverything(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	big := strings.Repeat("0123456789", 20_000)
	go func() { _, _ = io.WriteString(c, big) }()
	got := make([]byte, len(big))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != big {
		t.Fatalf("200 kB came back changed: %v", err)
	}
	if p.Connections() != 1 || p.BytesUp() != int64(len(big)) || p.BytesDown() != int64(len(big)) {
		t.Fatalf("counted %d connections, %d up, %d down", p.Connections(), p.BytesUp(), p.BytesDown())
	}
}

func TestStall_HoldsBothWaysAndLetsGoOn(t *testing.T) {
	for name, f := range map[string]faultproxy.Fault{
		"up":   {Up: faultproxy.Flow{Stall: true}},
		"down": {Down: faultproxy.Flow{Stall: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := faultproxytest.New(t, echo(t))
			c := dial(t, p)
			mustSay(t, c, "before")
			p.Set(f)
			if _, err := io.WriteString(c, "during"); err != nil {
				t.Fatal(err)
			}
			mustBeSilent(t, c)
			p.Clear()
			got := make([]byte, 6)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "during" {
				t.Fatalf("after Clear got %q, %v", got, err)
			}
		})
	}
}

func TestResetAll_IsSeenAsAReset(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "x")
	p.ResetAll()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("Read = %v, want a reset", err)
	}
	mustSay(t, dial(t, p), "a new connection works")
}

func TestRefuse_ResetsNewConnectionsOnly(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	old := dial(t, p)
	mustSay(t, old, "x")
	p.Set(faultproxy.Fault{Refuse: true})
	mustSay(t, old, "old goes on")
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // the reset may come that early
		_, err = say(c, "x")
		_ = c.Close()
	}
	if err == nil {
		t.Fatal("a new connection worked")
	}
	p.Clear()
	mustSay(t, dial(t, p), "back")
}

func TestCutAfter_PassesExactlySoManyBytes(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "before the fault, not counted")
	p.Set(faultproxy.Fault{Up: faultproxy.Flow{CutAfter: 4}, Down: faultproxy.Flow{Stall: true}})
	before := p.BytesDown()
	if _, err := io.WriteString(c, "123456"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("Read = %v, want a reset", err)
	}
	if got := p.BytesDown() - before; got > 4 {
		t.Fatalf("the server echoed %d bytes, want at most 4", got)
	}
}

func TestFlipEvery_TurnsOneBitInEveryNthByte(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{FlipEvery: 10}})
	sent := bytes.Repeat([]byte{0}, 100)
	got, err := say(c, string(sent))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if changed := got[i] != 0; changed != ((i+1)%10 == 0) {
			t.Fatalf("byte %d is %#x", i, got[i])
		}
	}
}

func TestSlice_DeliversByteByByte(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	// With so little bandwidth the single bytes cannot melt together again.
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Slice: 1, BytesPerSecond: 200}})
	if _, err := io.WriteString(c, "abcdef"); err != nil {
		t.Fatal(err)
	}
	p1 := make([]byte, 6)
	n, err := c.Read(p1)
	if err != nil || n == 6 {
		t.Fatalf("first read got %d bytes, %v, want a part", n, err)
	}
	if _, err := io.ReadFull(c, p1[n:]); err != nil || string(p1) != "abcdef" {
		t.Fatalf("got %q, %v", p1, err)
	}
}

func TestLatency_DelaysAPipelineOnce(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	const delay = 30 * time.Millisecond
	p.Set(faultproxy.Fault{Up: faultproxy.Flow{Latency: delay}, Down: faultproxy.Flow{Latency: delay}})
	start := time.Now()
	go func() {
		for range 50 {
			_, _ = io.WriteString(c, "x")
		}
	}()
	if _, err := io.ReadFull(c, make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if took < 2*delay {
		t.Fatalf("took %s, less than both delays", took)
	}
	if took > 50*delay {
		t.Fatalf("took %s: the delays add up", took)
	}
}

func TestShut_LeavesTheOtherDirectionOpen(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "x")
	up := p.BytesUp()
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Shut: true}})
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("Read = %v, want EOF", err)
	}
	if _, err := io.WriteString(c, "still"); err != nil {
		t.Fatal(err)
	}
	for p.BytesUp() != up+5 {
		time.Sleep(time.Millisecond)
	}
}

func TestSwallowReply_LosesExactlyOne(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	mustSay(t, c, "one")
	lost := p.SwallowReply(false)
	if _, err := io.WriteString(c, "two"); err != nil {
		t.Fatal(err)
	}
	<-lost
	mustBeSilent(t, c)
	mustSay(t, c, "three")
}

func TestSwallowReply_CanHangUpInstead(t *testing.T) {
	p := faultproxytest.New(t, echo(t))
	c := dial(t, p)
	p.SwallowReply(true)
	if got, err := say(c, "x"); err == nil || got != "" {
		t.Fatalf("got %q, %v, want a reset", got, err)
	}
}

func TestProxy_DeadServerIsSeenAsAReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", faultproxytest.New(t, dead).Addr())
	if err == nil { // the reset may come that early
		_, err = say(c, "x")
		_ = c.Close()
	}
	if err == nil {
		t.Fatal("a dead server answered")
	}
}

func TestProxy_CloseEndsEverythingEvenUnderAStall(t *testing.T) {
	p, err := faultproxy.New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	p.Set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}})
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection is still open")
	}
}
