package fallback

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/tier"
)

// cleared is a cache of one process that asks the barrier of its namespace at every read.
func cleared(t *testing.T, namespace string, s *Store) *tier.Cache[string] {
	t.Helper()
	c, err := tier.New(tier.Config[string]{
		Namespace: namespace, TTL: time.Hour,
		Local:    tier.Local[string]{Disabled: true},
		Remotes:  []tier.Remote{{Name: "migration", Store: s, Timeout: 30 * time.Second}},
		Barriers: tier.Barriers{Enabled: true, MaxAge: time.Nanosecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// A clear holds in every process, whichever store the barrier and the values are in.
func TestClear_InEveryPhaseAndNextToEveryOther(t *testing.T) {
	m, r := memcachedStore(t), redisStore(t)
	for id, to := range []struct {
		name     string
		old, new backends.Store
	}{{"memcached to redis", m, r}, {"redis to memcached", r, m}} {
		for _, p := range everyPhase {
			for _, q := range everyPhase {
				if !p.Compatible(q) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%v after %v", to.name, q, p), func(t *testing.T) {
					t.Parallel()
					open := func(phase Phase) *Store {
						return must(t, Config{New: patient(to.new), Old: []Member{patient(to.old)}, Phase: phase})
					}
					first, second := open(p), open(q)
					for i := range 4 { // keys and barriers of both halves of a ramp
						namespace := fmt.Sprintf("%d.%d.%d.%d", id, p, q, i)
						testClear(t, cleared(t, namespace, first), cleared(t, namespace, second), p == q)
					}
				})
			}
		}
	}
}

func testClear(t *testing.T, one, two *tier.Cache[string], alike bool) {
	t.Helper()
	ctx := t.Context()
	gets := func(c *tier.Cache[string], key string, allowed ...string) {
		t.Helper()
		v, err := c.Get(ctx, key)
		if errors.Is(err, tier.ErrMiss) {
			v, err = "", nil
		}
		for _, a := range allowed {
			if err == nil && v == a {
				return
			}
		}
		t.Errorf("%s: got %q, %v; want one of %q", key, v, err, allowed)
	}
	set := func(c *tier.Cache[string], key, v string) {
		t.Helper()
		if err := c.Set(ctx, key, v); err != nil {
			t.Error(err)
		}
	}
	for i := range 3 {
		key := fmt.Sprint("k", i)
		set(one, key, "5")
		gets(one, key, "5")
		if alike {
			gets(two, key, "5")
		} else {
			gets(two, key, "5", "")
		}
		for _, c := range []*tier.Cache[string]{two, one} {
			if err := c.Clear(ctx); err != nil {
				t.Fatal(err)
			}
			gets(one, key, "")
			gets(two, key, "")
			set(c, key, "6")
			gets(c, key, "6")
			gets(one, key, "6", "")
			gets(two, key, "6", "")
		}
	}
}

// What a cache with barriers holds stays warm through all phases, though its counter moves too.
func TestClear_ANamespaceStaysWarmThroughAllPhases(t *testing.T) {
	for name, stores := range map[string][2]backends.Store{
		"memcached to redis": {memcachedStore(t), redisStore(t)}, "redis to memcached": {redisStore(t), memcachedStore(t)},
	} {
		s := must(t, Config{New: patient(stores[1]), Old: []Member{patient(stores[0])}, Both: true})
		c := cleared(t, "warm", s)
		const keys = 20
		for i := range keys {
			if err := c.Set(t.Context(), fmt.Sprint("k", i), "v"); err != nil {
				t.Fatal(err)
			}
		}
		for _, phase := range []Phase{PhaseOld, PhaseMirror, Ramp(50), PhaseNew, PhaseRetire, PhaseNew, Ramp(50), PhaseMirror, PhaseOld} {
			if phase == PhaseRetire {
				settled(t, s, keys, "warm:k")
			}
			if err := s.SetPhase(phase); err != nil {
				t.Fatal(err)
			}
			for i := range keys {
				if v, err := c.Get(t.Context(), fmt.Sprint("k", i)); err != nil || v != "v" {
					t.Errorf("%s: %v: %q, %v", name, phase, v, err)
				}
			}
		}
	}
}
