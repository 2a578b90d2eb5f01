// Package talktest is what befalls the servers of processes that tell each other what changed:
// tests that every source of that kind has to pass, on real servers, while a hammer writes and
// reads.
//
// What counts is not how fast news travels but that none is lost: the hammer's L1s keep values for
// as long as nobody tells them otherwise, so one that has missed something is still wrong after the
// hammer has stopped.
package talktest

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
)

// Kind is a kind of source.
type Kind struct {
	Name string

	// Place is the channel or key on which the processes talk.
	Place string

	// New returns the source of one process.
	New func(client goredis.UniversalClient, cfg Config) (backends.Invalidator, error)
}

// Config are the settings that all kinds have.
type Config struct {
	Namespace string
	Place     string
	link.Timing
	Timeout time.Duration
}

// Namespaces, in one place: whoever joins hears the hammer in mid-count, and flushes for it.
const (
	namespace = "ns"
	quiet     = "quiet"
)

// watchful are settings for tests that wait for the watchdog. Where a busy machine makes a link fall
// silent for that long, it is down for a moment, which proves nothing and harms nothing.
var watchful = link.Timing{Ping: 100 * time.Millisecond, DeadAfter: 2 * time.Second}

// source returns the source of a process that is watchful.
func (k Kind) source(t testing.TB, client goredis.UniversalClient, namespace string) backends.Invalidator {
	t.Helper()
	s, err := k.New(client, Config{Namespace: namespace, Place: k.Place, Timing: watchful, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// patience is how long something may take on a machine that is busy with other tests.
const patience = 20 * time.Second

// within waits until ok.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
