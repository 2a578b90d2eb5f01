package fallback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// pair is a Store over two memories that can be made to fail.
type pair struct {
	t          *testing.T
	old, fresh *memory.Store
	o, n       *backendtest.Faulty
	s          *Store
}

func newPair(t *testing.T, phase Phase, change ...func(*Config)) *pair {
	t.Helper()
	p := &pair{t: t, old: memory.New(memory.Config{}), fresh: memory.New(memory.Config{})}
	p.o, p.n = backendtest.NewFaulty(p.old, 1), backendtest.NewFaulty(p.fresh, 2)
	cfg := Config{New: Member{Store: p.n}, Old: []Member{{Store: p.o}}, Phase: phase}
	for _, c := range change {
		c(&cfg)
	}
	p.s = must(t, cfg)
	return p
}

func text(v string) backends.Item { return backends.Item{Value: []byte(v), TTL: time.Hour} }

func (p *pair) put(s *memory.Store, key, v string) {
	p.t.Helper()
	if err := s.Set(context.Background(), key, text(v)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) holds(s *memory.Store, key, want string) {
	p.t.Helper()
	if got := string(s.Raw(key)); got != want {
		p.t.Errorf("%s: got %q, want %q", key, got, want)
	}
}

func (p *pair) gets(key, want string) {
	p.t.Helper()
	it, err := p.s.Get(context.Background(), key)
	if err != nil || string(it.Value) != want {
		p.t.Errorf("get %s: %q, %v; want %q", key, it.Value, err, want)
	}
}

func (p *pair) misses(key string) {
	p.t.Helper()
	if it, err := p.s.Get(context.Background(), key); !errors.Is(err, backends.ErrMiss) {
		p.t.Errorf("get %s: %q, %v; want a miss", key, it.Value, err)
	}
}

// owes checks that a change was made in new and is owed to old.
func (p *pair) owes(err error) {
	p.t.Helper()
	if !errors.Is(err, ErrOwed) {
		p.t.Errorf("got %v, want that old is owed it", err)
	}
}

func (p *pair) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Errorf("unexpected: %v", err)
	}
}

func TestGet_CopiesWithRemainingTTLAndFlags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		p.ok(p.old.Set(t.Context(), "k", backends.Item{Value: []byte("v"), TTL: time.Hour, Flags: 7}))
		p.ok(p.old.Set(t.Context(), "forever", text("v")))
		p.ok(p.old.Set(t.Context(), "forever", backends.Item{Value: []byte("v")}))
		time.Sleep(20 * time.Minute)
		p.gets("k", "v")
		p.gets("forever", "v")
		it, err := p.fresh.Get(t.Context(), "k")
		if err != nil || it.TTL != 40*time.Minute || it.Flags != 7 {
			t.Errorf("copy: TTL %v, flags %d, %v; want 40m and 7", it.TTL, it.Flags, err)
		}
		if it, err = p.fresh.Get(t.Context(), "forever"); err != nil || it.TTL != 0 {
			t.Errorf("copy of a value without expiry: TTL %v, %v", it.TTL, err)
		}
	})
}

// blind is a store that does not know lifetimes.
type blind struct{ *memory.Store }

func (b blind) Caps() backends.Caps {
	c := backends.CapsOf(b.Store)
	c.TTLer, c.Batcher = nil, nil
	return c
}

func (b blind) Get(ctx context.Context, key string) (backends.Item, error) {
	it, err := b.Store.Get(ctx, key)
	it.TTL = backends.TTLUnknown
	return it, err
}

func TestGet_UnknownTTLIsCappedNotForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := memory.New(memory.Config{})
		p := newPair(t, PhaseNew, func(c *Config) { c.Old[0].Store = blind{old} })
		defer p.s.Close()
		p.put(old, "k", "v")
		p.gets("k", "v")
		if it, err := p.fresh.Get(t.Context(), "k"); err != nil || it.TTL != DefaultUnknownTTL {
			t.Errorf("TTL of the copy: %v, %v; want %v", it.TTL, err, DefaultUnknownTTL)
		}
	})
}

func TestGet_OldDownIsAMissAndSkipped(t *testing.T) {
	p := newPair(t, PhaseNew)
	p.put(p.fresh, "here", "v")
	p.o.Down(true)
	p.gets("here", "v")
	p.misses("nowhere")
	l, _, err := p.s.Acquire(t.Context(), "nowhere", time.Minute)
	p.ok(err)
	p.ok(l.Fill(t.Context(), text("loaded")))
	p.gets("nowhere", "loaded")
	if got := p.s.Progress().Skipped; got == 0 {
		t.Error("nothing was counted as skipped")
	}
}

func TestGet_SlowOldCostsItsTimeoutThenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		hang := make(chan struct{})
		defer close(hang)
		p.o.Inject(backendtest.Fault{Block: hang, Times: -1})
		var took time.Duration
		for range 20 {
			start := time.Now()
			p.misses("k")
			took = time.Since(start)
			if took > DefaultTimeout {
				t.Fatalf("a miss took %v beside a store that hangs", took)
			}
		}
		if took != 0 {
			t.Errorf("a miss still takes %v: the breaker did not open", took)
		}
	})
}

func TestGet_NewDownFallsBackToNothingOlder(t *testing.T) {
	p := newPair(t, PhaseNew)
	p.put(p.old, "k", "old")
	p.put(p.old, "untouched", "v")
	p.ok(p.s.Set(t.Context(), "k", text("new")))
	p.n.Down(true)
	if it, err := p.s.Get(t.Context(), "k"); err == nil || errors.Is(err, backends.ErrMiss) {
		t.Errorf("get of what only new knows, with new down: %q, %v; want a failure", it.Value, err)
	}
	p.gets("untouched", "v")
}

func TestDelete_OwedToOldIsNotReadThere(t *testing.T) {
	for _, removed := range []bool{false, true} {
		p := newPair(t, PhaseNew)
		if removed {
			p.s.off = switches{bars: true, tombstone: true}
		}
		p.put(p.old, "k", "stale")
		p.o.Inject(backendtest.Fault{Op: backendtest.OpDelete})
		p.o.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Times: 3}) // the first deliveries
		p.owes(p.s.Delete(t.Context(), "k"))
		_, err := p.s.Get(t.Context(), "k")
		if stale := err == nil; stale != removed {
			t.Errorf("rules removed %v, stale read %v", removed, stale)
		}
	}
}

func TestDelete_OtherProcessesDoNotReadWhatIsOwedToOld(t *testing.T) {
	for _, removed := range []bool{false, true} {
		p := newPair(t, PhaseNew)
		other := must(t, Config{New: Member{Store: p.fresh}, Old: []Member{{Store: p.old}}, Phase: PhaseNew})
		p.s.off.tombstone, other.off.tombstone = removed, removed
		p.put(p.old, "k", "stale")
		p.o.Down(true)
		p.owes(p.s.Delete(t.Context(), "k"))
		_, err := other.Get(t.Context(), "k")
		if stale := err == nil; stale != removed {
			t.Errorf("mark removed %v, stale read %v", removed, stale)
		}
	}
}

func TestDelete_OwedIsDeliveredAndTheKeyOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		p.put(p.old, "k", "stale")
		p.o.Down(true)
		p.owes(p.s.Delete(t.Context(), "k"))
		time.Sleep(5 * time.Minute) // the mark is renewed meanwhile
		if _, err := p.fresh.Get(t.Context(), "k"); !errors.Is(err, backends.ErrHeldOff) {
			t.Errorf("the mark in new: %v; want held off", err)
		}
		p.o.Down(false)
		time.Sleep(time.Minute)
		p.holds(p.old, "k", "")
		p.holds(p.fresh, "k", "")
		if got := p.s.Progress(); got.OwedOld != 0 || got.Delivered != 1 {
			t.Errorf("owed %d, delivered %d; want 0 and 1", got.OwedOld, got.Delivered)
		}
		p.misses("k")
	})
}

func TestSet_OwedToOldBarsIt(t *testing.T) {
	p := newPair(t, PhaseNew)
	p.put(p.old, "k", "stale")
	p.o.Down(true)
	p.owes(p.s.Set(t.Context(), "k", text("new")))
	p.o.Down(false)
	p.o.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Times: -1})
	p.ok(p.fresh.Delete(t.Context(), "k")) // evicted
	p.misses("k")
	p.s.off.bars = true
	p.gets("k", "stale")
}

func TestSet_WhereOthersMayReadTheOtherStoreItsFailureIsAnError(t *testing.T) {
	for _, tc := range []struct {
		phase Phase
		down  string
		want  bool
		why   string
	}{
		{PhaseOld, "new", false, "nobody reads new"},
		{PhaseMirror, "new", true, "a neighbour may ramp"},
		{Ramp(99.99), "old", true, "a neighbour may mirror"},
		{PhaseNew, "old", true, "a neighbour whom new does not answer reads old"},
		{PhaseRetire, "old", false, "nobody reads old"},
	} {
		p := newPair(t, tc.phase)
		map[string]*backendtest.Faulty{"new": p.n, "old": p.o}[tc.down].Down(true)
		if err := p.s.Set(t.Context(), "some key", text("v")); (err != nil) != tc.want {
			t.Errorf("%v with %s down: %v; want an error: %v, since %s", tc.phase, tc.down, err, tc.want, tc.why)
		}
		if n := p.s.Progress(); n.OwedNew+n.OwedOld != 1 {
			t.Errorf("%v: owed %d", tc.phase, n.OwedNew+n.OwedOld)
		}
	}
}

func TestOwe_OverflowTakesTheMemberOutUntilTheLongestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew, func(c *Config) { c.MaxOwed, c.LongestTTL = 2, time.Hour })
		defer p.s.Close()
		p.put(p.old, "other", "v")
		p.o.Down(true)
		for _, k := range []string{"a", "b", "c"} {
			p.owes(p.s.Delete(t.Context(), k))
		}
		p.o.Down(false)
		time.Sleep(time.Minute)
		p.misses("other")
		p.ok(p.old.Set(t.Context(), "other", text("v")))
		time.Sleep(time.Hour)
		p.ok(p.old.Set(t.Context(), "other", text("v")))
		p.gets("other", "v")
	})
}

// The mark is in new: somebody whom new does not answer cannot see it, so the delete is not done.
// Too much is owed to new: it says until when it is shut, a read that it would have to answer says why
// and leaves it alone, and it is opened by whoever has emptied it.
func TestOwe_AnEmptiedMemberIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror, func(c *Config) { c.MaxOwed = 2 })
		defer p.s.Close()
		p.n.Down(true)
		for i := range 4 {
			_ = p.s.Set(t.Context(), fmt.Sprint("k", i), text("v"))
		}
		p.n.Down(false)
		time.Sleep(time.Hour)
		if got := p.s.Progress(); got.OwedNew != 0 || time.Until(got.NewShutUntil) != 23*time.Hour || !got.OldShutUntil.IsZero() {
			t.Errorf("progress: %+v", got)
		}
		p.ok(p.s.SetPhase(PhaseRetire))
		p.put(p.fresh, "k", "v")
		if _, err := p.s.Get(t.Context(), "k"); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "MaxOwed") {
			t.Errorf("get: %v", err)
		}
		p.holds(p.fresh, "k", "v")
		if err := p.s.Emptied("nobody"); err == nil {
			t.Error("a member that there is not")
		}
		p.ok(p.s.Emptied("new"))
		p.gets("k", "v")
		if got := p.s.Progress(); !got.NewShutUntil.IsZero() {
			t.Errorf("progress: %+v", got)
		}
	})
}

// Of many debts, those to a server that is dead do not hold up the others.
func TestOwe_DeadServersDoNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		p.o.Down(true)
		for i := range 1000 {
			_ = p.s.Set(t.Context(), fmt.Sprint("dead", i), text("v"))
		}
		for i := range 20 {
			_ = p.s.Set(t.Context(), fmt.Sprint("live", i), text("v"))
		}
		p.o.Down(false)
		for i := range 1000 {
			p.o.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Key: fmt.Sprint("dead", i), Err: backends.ErrOneServer, Times: -1})
		}
		time.Sleep(5 * time.Second) // two rounds
		if got := p.s.Progress(); got.OwedOld != 1000 || got.Delivered != 20 {
			t.Errorf("owed %d, delivered %d; want 1000 and 20", got.OwedOld, got.Delivered)
		}
	})
}

func TestDelete_OwedToOldIsNoSuccessWhereNewMayNotAnswerOthers(t *testing.T) {
	for _, phase := range []Phase{PhaseNew, PhaseRetire} {
		p := newPair(t, phase)
		cut := backendtest.NewFaulty(p.fresh, 3)
		other := must(t, Config{New: Member{Store: cut}, Old: []Member{{Store: p.old}}, Phase: phase})
		p.put(p.old, "k", "stale")
		p.o.Down(true)
		cut.Down(true)
		err := p.s.Delete(t.Context(), "k")
		if many := first(p.s.DeleteMany(t.Context(), []string{"k"})...); (many == nil) != (err == nil) {
			t.Errorf("%v: delete %v, delete-many %v", phase, err, many)
		}
		if _, read := other.Get(t.Context(), "k"); read == nil && err == nil {
			t.Errorf("%v: deleted, and read afterwards", phase)
		}
		if (err == nil) != (phase == PhaseRetire) || err != nil && !errors.Is(err, ErrOwed) {
			t.Errorf("%v: %v", phase, err)
		}
	}
}

// The lease of a copy is taken before old is read: a delete in between ends it.
func TestCopy_DeleteDuringACopyIsNotUndone(t *testing.T) {
	for _, removed := range []bool{false, true} {
		p := newPair(t, PhaseNew)
		p.s.off.lease = removed
		p.put(p.old, "k", "stale")
		other := must(t, Config{New: Member{Store: p.fresh}, Old: []Member{{Store: p.old}}, Phase: PhaseNew})
		reads := 0
		p.o.After(func(op backendtest.Op, key string) {
			if op == "getttl" {
				if reads++; reads == 1 {
					p.ok(other.Delete(context.Background(), "k"))
				}
			}
		})
		p.gets("k", "stale") // the read began before the delete
		if reads == 0 {
			t.Fatal("the copy was not seen")
		}
		_, err := p.s.Get(t.Context(), "k")
		if stale := err == nil; stale != removed {
			t.Errorf("lease removed %v, stale read %v", removed, stale)
		}
	}
}

func TestCopy_NeverOverwrites(t *testing.T) {
	p := newPair(t, PhaseNew)
	p.put(p.old, "k", "old")
	p.o.After(func(op backendtest.Op, _ string) {
		if op == "getttl" {
			p.o.After(nil)
			p.put(p.fresh, "k", "newer")
		}
	})
	p.gets("k", "old")
	p.holds(p.fresh, "k", "newer")
}

func TestLegacy_ForeignValuesAreReframedWhenReadAndCopied(t *testing.T) {
	p := newPair(t, PhaseNew, func(c *Config) {
		c.Legacy = func(_ string, it backends.Item) (backends.Item, error) {
			if string(it.Value) == "bad" {
				return it, errors.New("no such format")
			}
			it.Value = append([]byte("framed:"), it.Value...)
			return it, nil
		}
		c.OldKey, c.FromOldKey = PrefixKeys("app:")
	})
	p.put(p.old, "app:k", "v")
	p.put(p.old, "app:bad", "bad")
	p.gets("k", "framed:v")
	p.holds(p.fresh, "k", "framed:v")
	p.holds(p.old, "app:k", "v")
	p.misses("bad")
	p.put(p.fresh, "bulk", "v") // "hearth copy" brings values as they are
	p.put(p.fresh, "newly bad", "bad")
	p.gets("bulk", "framed:v")
	p.misses("newly bad")
	p.ok(p.s.Delete(t.Context(), "k"))
	p.holds(p.old, "app:k", "")
}

// A reader in another language that has moved to new finds there what it can read.
func TestLegacy_CopiesAsTheyAreLeaveTheValuesToOtherClients(t *testing.T) {
	for name, read := range map[string]func(p *pair) (string, error){
		"get": func(p *pair) (string, error) {
			it, err := p.s.Get(t.Context(), "k")
			return string(it.Value), err
		},
		"get-many": func(p *pair) (string, error) {
			r := p.s.GetMany(t.Context(), []string{"k"})[0]
			return string(r.Item.Value), r.Err
		},
		"acquire": func(p *pair) (string, error) {
			_, it, err := p.s.Acquire(t.Context(), "k", time.Minute)
			return string(it.Value), err
		},
		"acquire-many": func(p *pair) (string, error) {
			r := p.s.AcquireMany(t.Context(), []string{"k"}, time.Minute)[0]
			return string(r.Item.Value), r.Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			nonce := 0
			p := newPair(t, PhaseNew, func(c *Config) {
				c.LegacyCopies = LegacyAsIs
				c.Legacy = func(_ string, it backends.Item) (backends.Item, error) {
					nonce++
					it.Value, it.Flags = fmt.Appendf(nil, "framed:%s:%d", it.Value, nonce), 0
					return it, nil
				}
			})
			p.ok(p.old.Set(t.Context(), "k", backends.Item{Value: []byte("v"), Flags: 2, TTL: time.Hour}))
			if v, err := read(p); err != nil || !strings.HasPrefix(v, "framed:v:") {
				t.Errorf("read %q, %v", v, err)
			}
			it, err := p.fresh.GetTTL(t.Context(), "k")
			if err != nil || string(it.Value) != "v" || it.Flags != 2 || it.TTL > time.Hour || it.TTL < time.Minute {
				t.Errorf("new has %q, flags %d, for %v, %v; want what old has", it.Value, it.Flags, it.TTL, err)
			}
			if v, err := read(p); err != nil || !strings.HasPrefix(v, "framed:v:") {
				t.Errorf("read from new: %q, %v", v, err)
			}
		})
	}
}

// The copy of a version is known by its bytes, however the decoder frames it.
func TestLegacy_ATokenOfOldIsGoodForItsCopyAsItIs(t *testing.T) {
	nonce := 0
	p := newPair(t, PhaseMirror, func(c *Config) {
		c.LegacyCopies = LegacyAsIs
		c.Legacy = func(_ string, it backends.Item) (backends.Item, error) {
			nonce++
			it.Value = fmt.Appendf(nil, "framed:%s:%d", it.Value, nonce)
			return it, nil
		}
	})
	p.put(p.old, "k", "v")
	it, err := p.s.Get(t.Context(), "k")
	p.ok(err)
	p.ok(p.s.SetPhase(PhaseNew))
	p.ok(p.s.CompareAndSwap(t.Context(), "k", it.Token, text("w")))
	p.holds(p.fresh, "k", "w")
	p.holds(p.old, "k", "")
}

func TestNew_RefusesWhatCannotBeMadeSafe(t *testing.T) {
	mem := memory.New(memory.Config{})
	plain := struct{ backends.Store }{memory.New(memory.Config{})}
	slices := struct { // == panics on it
		backends.Store
		_ []int
	}{Store: memory.New(memory.Config{})}
	for name, cfg := range map[string]Config{
		"no new":            {Old: []Member{{Store: mem}}},
		"no old":            {New: Member{Store: mem}},
		"a nil pointer":     {New: Member{Store: (*memory.Store)(nil)}, Old: []Member{{Store: mem}}},
		"no leases, no ==":  {New: Member{Store: slices}, Old: []Member{{Store: slices}}},
		"the same store":    {New: Member{Store: mem}, Old: []Member{{Store: mem}}},
		"the same name":     {New: Member{Store: mem, Name: "x"}, Old: []Member{{Store: plain, Name: "x"}}},
		"no leases on new":  {New: Member{Store: plain, Name: "plain"}, Old: []Member{{Store: mem}}},
		"no such phase":     {New: Member{Store: mem}, Old: []Member{{Store: plain}}, Phase: PhaseRetire + 1},
		"no such form":      {New: Member{Store: mem}, Old: []Member{{Store: plain}}, LegacyCopies: LegacyAsIs},
		"negative lifetime": {New: Member{Store: mem}, Old: []Member{{Store: plain}}, UnknownTTL: -1},
	} {
		if s, err := New(cfg); err == nil {
			s.Close()
			t.Errorf("%s: taken", name)
		}
	}
}
