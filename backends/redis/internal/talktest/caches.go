package talktest

import (
	"context"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/tier"
)

// caches are processes over one store, that differ in what their L1 does while the link is down, and
// one that changes the record, whose link may be another.
type caches struct {
	kind   Kind
	writer *tier.Cache[string]
	with   map[tier.WhenDown]*tier.Cache[string]
}

// states are what Health says of an L1 whose link is down.
var states = map[tier.WhenDown]string{tier.Bypass: "bypassed", tier.ShortTTL: "short", tier.Serve: "blind"}

const (
	store  = "the store"
	record = "k"
)

// open starts the caches; readers listen through the clients that connect returns, the writer talks
// through its own.
func open(t *testing.T, k Kind, writer goredis.UniversalClient, connect func() goredis.UniversalClient) *caches {
	t.Helper()
	shared := memory.New(memory.Config{})
	c := &caches{kind: k, with: map[tier.WhenDown]*tier.Cache[string]{}}
	c.writer = cache(t, shared, tier.Local[string]{Disabled: true, Invalidator: k.source(t, writer, quiet)})
	for policy := range states {
		c.with[policy] = cache(t, shared, tier.Local[string]{
			Invalidator: k.source(t, connect(), quiet), WhenDown: policy, DeadAfter: watchful.DeadAfter, TTL: time.Hour,
		})
	}
	return c
}

func cache(t *testing.T, shared backends.Store, l tier.Local[string]) *tier.Cache[string] {
	t.Helper()
	c, err := tier.New(tier.Config[string]{
		Namespace: quiet, TTL: time.Hour, Local: l,
		Remotes: []tier.Remote{{Name: store, Store: shared, Timeout: patience}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// change writes to the record. Where nobody can be told, an error says so, and the store has it.
func (c *caches) change(t testing.TB, v string) {
	t.Helper()
	err := c.writer.Set(t.Context(), record, v)
	if e, lerr := c.writer.Lookup(t.Context(), record); lerr != nil || e.Value != v {
		t.Fatalf("%s: the store has %q, %v after %v", c.kind.Name, e.Value, lerr, err)
	}
}

// healthy waits until every L1 answers with v, which is current.
func (c *caches) healthy(t testing.TB, v string) {
	t.Helper()
	for policy, cache := range c.with {
		within(t, c.kind.Name+": with "+states[policy]+" the link is up", func() bool { return cache.Health().Link == "up" })
		// From here on nothing older may be served, whatever was served before.
		if got, err := cache.Get(t.Context(), record); err != nil || got != v {
			t.Errorf("%s: with %s the link is up again, and it serves %q, %v; want %q", c.kind.Name, states[policy], got, err, v)
		}
		c.heardAll(t, cache)
		within(t, c.kind.Name+": L1 serves", func() bool {
			return inL1(t, cache, record, v) && cache.Health().L1.State == "serving"
		})
	}
}

// heardAll waits until a cache whose link is up has heard of every change that the writer has made so
// far: news comes in order, so it has when it has heard of one more. Else what is in its L1 could be
// forgotten later by news of long ago.
func (c *caches) heardAll(t testing.TB, cache *tier.Cache[string]) {
	t.Helper()
	const marker = "marker"
	for _, v := range []string{"before", "after"} {
		if err := c.writer.Set(t.Context(), marker, v); err != nil {
			t.Fatal(err)
		}
		within(t, c.kind.Name+": the marker is in L1", func() bool { return inL1(t, cache, marker, v) })
	}
}

// inL1 reads a key, and reports whether L1 answers with v from then on.
func inL1(t testing.TB, cache *tier.Cache[string], key, v string) bool {
	_, _ = cache.Get(t.Context(), key)
	e, err := cache.Lookup(t.Context(), key)
	return err == nil && e.Value == v && e.Source == "L1"
}

// passed waits until every link is down and Health says so, changes the record from v to w, and
// looks whether L1 does what its setting says.
func (c *caches) passed(t testing.TB, v, w string) {
	t.Helper()
	for policy, cache := range c.with {
		within(t, c.kind.Name+": Health says that the link is down", func() bool { return cache.Health().Link == "down" })
		h := cache.Health()
		if h.LinkErr == nil || h.L1.State != states[policy] {
			t.Errorf("%s: Health says %v and %q of L1, want a reason and %q", c.kind.Name, h.LinkErr, h.L1.State, states[policy])
		}
	}
	c.change(t, w)
	get := func(p tier.WhenDown) string {
		got, err := c.with[p].Get(t.Context(), record)
		if err != nil {
			t.Errorf("%s: with %s: %v", c.kind.Name, states[p], err)
		}
		return got
	}
	if got := get(tier.Serve); got != v {
		t.Errorf("%s: L1 goes on, and serves %q; want %q", c.kind.Name, got, v)
	}
	within(t, c.kind.Name+": the short life of the old value is over", func() bool { return get(tier.ShortTTL) == w })
	for range 2 {
		e, err := c.with[tier.Bypass].Lookup(t.Context(), record)
		if err != nil || e.Value != w || e.Source != store {
			t.Errorf("%s: read %q from %s, %v; want %q from the store", c.kind.Name, e.Value, e.Source, err, w)
		}
	}
}
