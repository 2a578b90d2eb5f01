package fallback

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// newChain is newPair with a second old, which is what it returns.
func newChain(t *testing.T, change ...func(*Config)) (p *pair, last *memory.Store, faulty *backendtest.Faulty) {
	last = memory.New(memory.Config{})
	faulty = backendtest.NewFaulty(last, 3)
	return newPair(t, PhaseNew, append(change, func(c *Config) { c.Old = append(c.Old, Member{Store: faulty}) })...), last, faulty
}

func TestChain_AValueOfTheLastOldIsCopiedWithItsLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, last, _ := newChain(t)
		defer p.s.Close()
		p.put(last, "k", "v")
		time.Sleep(20 * time.Minute)
		p.gets("k", "v")
		for name, s := range map[string]*memory.Store{"new": p.fresh, "old": p.old} {
			if it, err := s.GetTTL(t.Context(), "k"); err != nil || string(it.Value) != "v" || it.TTL != 40*time.Minute {
				t.Errorf("%s: %q for %v, %v; want v for 40m", name, it.Value, it.TTL, err)
			}
		}
		p.ok(p.s.Delete(t.Context(), "k"))
		p.misses("k")
		p.holds(last, "k", "")
	})
}

func TestChain_WithItsLastOldDownTheOthersAnswerAndNothingStaleIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, last, faulty := newChain(t)
		defer p.s.Close()
		p.put(p.old, "near", "v")
		p.put(last, "k", "v")
		faulty.Down(true)
		p.gets("near", "v")
		p.misses("k")
		p.owes(p.s.Delete(t.Context(), "k"))
		faulty.Down(false)
		p.misses("k")
		time.Sleep(2 * time.Minute)
		p.misses("k")
		p.holds(last, "k", "")
		if got := p.s.Progress(); got.OwedOld != 0 {
			t.Errorf("%d owed", got.OwedOld)
		}
	})
}

// Too much is owed to the last old. Whoever watches hears of it, and each store of the chain opens
// again when it was emptied, and only that one.
func TestChain_EmptiedOpensEachStoreByItsOwnName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overflowed := map[string]bool{}
		p, last, faulty := newChain(t, func(c *Config) {
			c.MaxOwed = 3
			c.Observer = func(e Event) {
				if e.Kind == EventOverflow {
					overflowed[e.Member] = true
				}
			}
		})
		defer p.s.Close()
		faulty.Down(true)
		for i := range 10 {
			p.owes(p.s.Delete(t.Context(), fmt.Sprint("k", i)))
		}
		faulty.Down(false)
		time.Sleep(5 * time.Minute) // single keys are delivered
		if until := p.s.Progress().OldShutUntil; until.IsZero() || !overflowed["old 2"] {
			t.Fatalf("shut until %v, overflowed %v", until, overflowed)
		}
		p.put(p.old, "near", "v")
		p.put(last, "far", "v")
		p.misses("near")
		if err := p.s.Emptied("old 3"); err == nil {
			t.Error("a name that no member has was taken")
		}
		p.ok(p.s.Emptied("old"))
		p.gets("near", "v")
		p.misses("far")
		if p.s.Progress().OldShutUntil.IsZero() {
			t.Error("open, although old 2 was not emptied")
		}
		p.ok(p.s.Emptied("old 2"))
		p.gets("far", "v")
		if until := p.s.Progress().OldShutUntil; !until.IsZero() {
			t.Errorf("still shut until %v", until)
		}
	})
}

// The chain itself may have overflowed while its second store was shut off from it.
func TestChain_EmptiedOfOneLeavesAnOverflowToTheOthers(t *testing.T) {
	p, _, _ := newChain(t)
	p.s.old.owed.shut(time.Now().Add(time.Hour).UnixNano())
	p.ok(p.s.Emptied("old 2"))
	if p.s.nested.new.owed.shutUntil().IsZero() || !p.s.nested.old.owed.shutUntil().IsZero() || !p.s.old.owed.shutUntil().IsZero() {
		t.Error("want the first old shut and nothing else")
	}
	p.put(p.old, "k", "v")
	if _, err := p.s.Get(context.Background(), "k"); !errors.Is(err, backends.ErrUnavailable) && !errors.Is(err, backends.ErrMiss) {
		t.Errorf("the first old was read: %v", err)
	}
	p.ok(p.s.Emptied("old"))
	p.gets("k", "v")
}
