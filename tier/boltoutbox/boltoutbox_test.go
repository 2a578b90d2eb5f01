package boltoutbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/tier/boltoutbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog_KeepsWhatIsOwedAcrossARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	server := memory.New(memory.Config{})
	store := backendtest.NewFaulty(server, 1)
	open := func() (*tier.Cache[string], *boltoutbox.Log) {
		log, err := boltoutbox.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tier.New(tier.Config[string]{Namespace: "n", Outbox: log, Remotes: []tier.Remote{{Name: "r", Store: store}}})
		if err != nil {
			t.Fatal(err)
		}
		return c, log
	}
	c, log := open()
	if err := c.Set(t.Context(), "k", "old"); err != nil {
		t.Fatal(err)
	}
	store.Down(true)
	if err := c.Delete(t.Context(), "k"); !errors.Is(err, tier.ErrQueued) {
		t.Fatalf("got %v", err)
	}
	c.Close(t.Context()) // as a crash would: nothing was delivered
	log.Close()

	c, log = open()
	defer log.Close()
	defer c.Close(context.Background())
	if v, err := c.Get(t.Context(), "k"); err == nil {
		t.Fatalf("got %q, which was deleted before the restart", v)
	}
	store.Down(false)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if owed, err := log.Owed("n/r"); err == nil && len(owed) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still owed")
		}
	}
	if _, err := server.Get(t.Context(), "n:k"); !errors.Is(err, tier.ErrMiss) {
		t.Errorf("the server still has it: %v", err)
	}
}

// The hold-off of a queued delete comes through the restart with it.
func TestLog_KeepsTheHoldOffAcrossARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	server := memory.New(memory.Config{})
	store := backendtest.NewFaulty(server, 1)
	open := func() (*tier.Cache[string], *boltoutbox.Log) {
		log, err := boltoutbox.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tier.New(tier.Config[string]{Namespace: "n", Outbox: log, Remotes: []tier.Remote{{Name: "r", Store: store}}})
		if err != nil {
			t.Fatal(err)
		}
		return c, log
	}
	c, log := open()
	store.Down(true)
	if err := c.DeleteWith(t.Context(), "k", tier.DeleteOptions{HoldOff: time.Hour, Version: 7}); !errors.Is(err, tier.ErrQueued) {
		t.Fatalf("got %v", err)
	}
	c.Close(t.Context())
	log.Close()
	store.Down(false)
	c, log = open()
	defer log.Close()
	defer c.Close(context.Background())
	for deadline := time.Now().Add(10 * time.Second); c.Health().Remotes[0].Owed > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still owed")
		}
	}
	if _, err := server.Get(t.Context(), "n:k"); !errors.Is(err, backends.ErrHeldOff) {
		t.Errorf("after the delivery fills are not held off: %v", err)
	}
	if err := c.SetWith(t.Context(), "k", "old", tier.SetOptions{Version: 7}); !errors.Is(err, backends.ErrOlder) {
		t.Errorf("the deleted version was stored again: %v", err)
	}
}

func TestLog_ReturnsWhatItWasToldAndRefusesWhatIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	log, err := boltoutbox.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	told := []tier.Owed{
		{Key: "a plain one"}, {Key: "b held off", HoldOff: time.Minute}, {Key: "c with a version", HoldOff: 1, Version: math.MaxUint64},
		{Key: "d", HoldOff: math.MaxInt64},
	}
	if err := log.Owe("n/r", told); err != nil {
		t.Fatal(err)
	}
	got, err := log.Owed("n/r")
	if err != nil || !slices.Equal(got, told) {
		t.Errorf("got %v, %v; told %v", got, err, told)
	}
	if got, err := log.Owed("n/other"); err != nil || len(got) != 0 {
		t.Errorf("another tier owes %v, %v", got, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{{0x80}, {1}, {1, 2, 3}, bytes.Repeat([]byte{0xff}, 20)} {
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("n/r")).Put([]byte("bad key"), damaged) }); err != nil {
			t.Fatal(err)
		}
		db.Close()
		log, err := boltoutbox.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Owed("n/r"); err == nil || !strings.Contains(err.Error(), "bad key") {
			t.Errorf("%x: got %v, want an error that names the key", damaged, err)
		}
		log.Close()
	}
}

func TestOpen_SaysWhoElseHasTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	log, err := boltoutbox.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := boltoutbox.Open(path); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
	if _, err := boltoutbox.Open(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
}

func Example() {
	dir, _ := os.MkdirTemp("", "outbox")
	defer os.RemoveAll(dir)
	log, err := boltoutbox.Open(filepath.Join(dir, "outbox.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	log.Owe("user/redis", []tier.Owed{{Key: "1"}, {Key: "2", HoldOff: time.Minute}})
	log.Settle("user/redis", []string{"1"})
	fmt.Println(log.Owed("user/redis"))
	// Output: [{2 1m0s 0}] <nil>
}
