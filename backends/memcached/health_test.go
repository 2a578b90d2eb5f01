package memcached

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestFleet_DeadServerCostsItsKeysNoTimeAndTheOthersNothing(t *testing.T) {
	cfg := Config{Timeout: 200 * time.Millisecond}
	live := serverstest.Memcached(t)
	dead := serverstest.Memcached(t)
	serverstest.Real(t, dead)
	cfg.Servers = []Server{{Addr: live.Addr()}, {Addr: dead.Addr()}}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keyOn := func(server int) string {
		for i := 0; ; i++ {
			if k := fmt.Sprint("key", i); s.place(k).server == server {
				return k
			}
		}
	}
	here, gone := keyOn(0), keyOn(1)
	for _, k := range []string{here, gone} {
		if err := s.Set(t.Context(), k, backends.Item{Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := dead.Pause(); err != nil { // silent: nothing tells but the timeout
		t.Fatal(err)
	}
	for range 8 {
		_, err := s.Get(t.Context(), gone)
		if !errors.Is(err, backends.ErrOneServer) || errors.Is(err, backends.ErrMiss) || guard.Classify(err) != guard.Ignore {
			t.Fatalf("got %v, want the failure of one server", err)
		}
	}
	start := time.Now()
	_, err = s.Get(t.Context(), gone)
	if d := time.Since(start); !errors.Is(err, backends.ErrUnavailable) || d > 50*time.Millisecond {
		t.Errorf("after %v: %v; want to be refused at once", d, err)
	}
	var rs []backends.Result
	for range 5 { // the live server may be slow on a busy machine
		if rs = s.GetMany(t.Context(), []string{here, gone}); rs[0].Err == nil {
			break
		}
	}
	if rs[0].Err != nil || string(rs[0].Item.Value) != "v" || !errors.Is(rs[1].Err, backends.ErrOneServer) {
		t.Errorf("batch: %v, %v", rs[0].Err, rs[1].Err)
	}
	if err := dead.Resume(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if it, err := s.Get(t.Context(), gone); err == nil && string(it.Value) == "v" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("did not recover")
		}
	}
}

func TestFleet_SingleServerFailsForTheWholeStore(t *testing.T) {
	s, err := New(Config{Servers: []Server{{Addr: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(t.Context(), "k"); err == nil || errors.Is(err, backends.ErrOneServer) {
		t.Errorf("got %v", err)
	}
}
