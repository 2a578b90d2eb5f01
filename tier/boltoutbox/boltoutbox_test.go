package boltoutbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

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
	log.Owe("user/redis", []string{"1", "2"})
	log.Settle("user/redis", []string{"1"})
	owed, _ := log.Owed("user/redis")
	fmt.Println(slices.Sorted(slices.Values(owed)))
	// Output: [2]
}
