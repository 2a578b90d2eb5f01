package memcachedtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/internal/memcachedtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inMemory returns a client whose connections live in memory.
func inMemory(s *memcachedtest.Server) *memcache.Client {
	c := memcache.New("127.0.0.1:11211")
	c.DialContext = func(context.Context, string, string) (net.Conn, error) { return s.Dial() }
	return c
}

func closeBoth(t *testing.T, s *memcachedtest.Server, c *memcache.Client) {
	if err := errors.Join(c.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestDial_ItemsExpireOnTheFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Config{})
		c := inMemory(s)
		defer closeBoth(t, s, c)
		const month = 30 * 24 * 3600
		for key, exp := range map[string]int32{
			"relative": 10, "month": month, "never": 0, "negative": -1,
			"31 days relative is a date long past": month + 1,
			"date":                                 int32(time.Now().Add(10 * time.Second).Unix()),
		} {
			if err := c.Set(&memcache.Item{Key: strings.ReplaceAll(key, " ", "_"), Value: []byte("v"), Expiration: exp}); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Len(); got != 4 {
			t.Fatalf("%d items live at once, want 4", got)
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if got := s.Len(); got != 4 {
			t.Fatalf("%d items live just before the end, want 4", got)
		}
		time.Sleep(time.Nanosecond)
		if got := s.Len(); got != 2 {
			t.Fatalf("%d items live at the end, want 2", got)
		}
		if _, err := c.Get("relative"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatalf("Get = %v, want a miss", err)
		}
		time.Sleep(month * time.Second)
		if got := s.Len(); got != 1 {
			t.Fatalf("%d items live after a month, want 1", got)
		}
	})
}

func TestConfig_TickShortensATTLAsTheRealClockDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Config{Tick: time.Second})
		c := inMemory(s)
		defer closeBoth(t, s, c)
		time.Sleep(990 * time.Millisecond)
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v"), Expiration: 1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if _, err := c.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatalf("Get = %v: a second set late in the tick must end with it", err)
		}
	})
}

func TestFlushAll_WithADelayComesDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Config{})
		c := inMemory(s)
		defer closeBoth(t, s, c)
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		raw, err := s.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(raw, "flush_all 5\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(raw, make([]byte, len("OK\r\n"))); err != nil {
			t.Fatal(err)
		}
		_ = raw.Close()
		time.Sleep(4 * time.Second)
		if s.Len() != 1 {
			t.Fatal("flushed too early")
		}
		time.Sleep(time.Second)
		if s.Len() != 0 {
			t.Fatal("not flushed")
		}
	})
}

func TestDial_AClientMayWriteItsWholePipelineFirst(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Config{})
	defer func() { _ = s.Close() }()
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const n = 5000
	if _, err := io.WriteString(c, strings.Repeat("set k 0 0 3\r\na\nb\r\nget k\r\n", n)); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("STORED\r\nVALUE k 0 3\r\na\nb\r\nEND\r\n", n)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("wrong answers, %v", err)
	}
}

func TestConfig_BeforeForcesAnInterleaving(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	s := memcachedtest.New(memcachedtest.Config{Before: func(line []byte) {
		if strings.HasPrefix(string(line), "cas ") {
			close(arrived)
			<-proceed
		}
	}})
	a, b := inMemory(s), inMemory(s)
	defer closeBoth(t, s, a)
	defer func() { _ = b.Close() }()
	if err := a.Set(&memcache.Item{Key: "k", Value: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	it, err := a.Get("k")
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	it.Value = []byte("new")
	go func() { result <- a.CompareAndSwap(it) }()
	<-arrived
	if err := b.Delete("k"); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if err := <-result; !errors.Is(err, memcache.ErrCacheMiss) {
		t.Fatalf("CompareAndSwap = %v, want a miss: the delete came between", err)
	}
}

func TestHangUp_ClosesConnectionsAndKeepsItems(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Config{})
	c := inMemory(s)
	defer closeBoth(t, s, c)
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	raw, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	s.HangUp()
	if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("Read = %v, want EOF", err)
	}
	if s.Len() != 1 {
		t.Fatal("the item is gone")
	}
}

func TestClose_RefusesDialAndListen(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Config{})
	if err := errors.Join(s.Listen("127.0.0.1:0"), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Dial(); !errors.Is(err, memcachedtest.ErrClosed) {
		t.Errorf("Dial = %v", err)
	}
	if err := s.Listen("127.0.0.1:0"); !errors.Is(err, memcachedtest.ErrClosed) {
		t.Errorf("Listen = %v", err)
	}
}

func TestMetaSet_StoresUnderAGivenCASID(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Config{})
	defer func() { _ = s.Close() }()
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "ms k 1 E77 c\r\nx\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("HD c77\r\n"))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "HD c77\r\n" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func Example() {
	srv := memcachedtest.New(memcachedtest.Config{})
	defer func() { _ = srv.Close() }()
	client := memcache.New("127.0.0.1:11211")
	client.DialContext = func(context.Context, string, string) (net.Conn, error) { return srv.Dial() }
	defer func() { _ = client.Close() }()

	if err := client.Set(&memcache.Item{Key: "greeting", Value: []byte("hello\nworld")}); err != nil {
		fmt.Println(err)
		return
	}
	it, err := client.Get("greeting")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", it.Value)
	// Output: "hello\nworld"
}
