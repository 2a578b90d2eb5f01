package backendtest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// broken is a store with one fault, put over a good one.
type broken struct {
	backends.Store
	caps backends.Caps
}

func (b *broken) Caps() backends.Caps { return b.caps }

// The faults. Each changes one method of the good store.
type (
	deletesNothing  struct{ *broken }
	anyErrorIsAMiss struct{ *broken }
	cutsKeys        struct{ *broken }
	trimsValues     struct{ *broken }
	dropsTTL        struct{ *broken }
	ignoresCtx      struct{ *broken }
	takesEmptyKeys  struct{ *broken }
	takesNegative   struct{ *broken }
	addOverwrites   struct{ backends.CASer }
	swapsAnyVersion struct{ backends.CASer }
	refusesAll      struct{ backends.CASer }
	shiftsBatches   struct{ backends.Batcher }
	losesDuplicates struct{ backends.Batcher }
	fillsUnchecked  struct {
		backends.Leaser
		store backends.Store
	}
	fillsIfLeased struct {
		backends.Leaser
		store backends.Store
	}
	blindRelease struct {
		backends.Leaser
		store backends.Store
	}
	grantsAll struct {
		backends.Leaser
		store backends.Store
	}
	setsAnyVersion struct{ backends.Store }
	holdsNothing   struct{ backends.Store }
	touchesAbsent  struct {
		backends.Toucher
		store backends.Store
	}
	addsToInitial struct{ backends.Incrementer }
	movesWindow   struct {
		backends.Incrementer
		toucher backends.Toucher
	}
	forgetsSomeKeys struct{ backends.Scanner }
	flushesNobody   struct{ backends.Invalidator }
	agesNothing     struct {
		backends.TTLer
		ttl time.Duration
	}
)

func (deletesNothing) Delete(context.Context, string) error { return nil }

func (b anyErrorIsAMiss) Get(ctx context.Context, key string) (backends.Item, error) {
	it, err := b.broken.Get(ctx, key)
	if err != nil {
		err = backends.ErrMiss
	}
	return it, err
}

func cut(key string) string { return key[:min(len(key), 250)] }

func (b cutsKeys) Get(ctx context.Context, key string) (backends.Item, error) {
	return b.broken.Get(ctx, cut(key))
}

func (b cutsKeys) Set(ctx context.Context, key string, it backends.Item) error {
	return b.broken.Set(ctx, cut(key), it)
}

func (b trimsValues) Set(ctx context.Context, key string, it backends.Item) error {
	if i := slices.Index(it.Value, 0); i >= 0 {
		it.Value = it.Value[:i]
	}
	return b.broken.Set(ctx, key, it)
}

func (b dropsTTL) Set(ctx context.Context, key string, it backends.Item) error {
	it.TTL = max(0, it.TTL.Truncate(time.Second), min(it.TTL, 0))
	return b.broken.Set(ctx, key, it)
}

func (b ignoresCtx) Get(_ context.Context, key string) (backends.Item, error) {
	return b.broken.Get(context.Background(), key)
}

func (b takesEmptyKeys) Set(ctx context.Context, key string, it backends.Item) error {
	return b.broken.Set(ctx, "prefix:"+key, it)
}

func (b takesEmptyKeys) Get(ctx context.Context, key string) (backends.Item, error) {
	return b.broken.Get(ctx, "prefix:"+key)
}

func (b takesNegative) Set(ctx context.Context, key string, it backends.Item) error {
	it.TTL = max(0, it.TTL)
	return b.broken.Set(ctx, key, it)
}

func (c addOverwrites) Add(ctx context.Context, key string, it backends.Item) error {
	err := c.CASer.Add(ctx, key, it)
	if s, ok := c.CASer.(backends.Store); ok && errors.Is(err, backends.ErrExists) {
		return s.Set(ctx, key, it)
	}
	return err
}

func (c swapsAnyVersion) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	err := c.CASer.CompareAndSwap(ctx, key, tok, it)
	if s, ok := c.CASer.(backends.Store); ok && errors.Is(err, backends.ErrConflict) {
		return s.Set(ctx, key, it)
	}
	return err
}

func (refusesAll) Add(context.Context, string, backends.Item) error { return backends.ErrUnsupported }

func (b shiftsBatches) GetMany(ctx context.Context, keys []string) []backends.Result {
	rs := b.Batcher.GetMany(ctx, keys)
	if len(rs) > 2 {
		rs[0], rs[1] = rs[1], rs[0]
	}
	return rs
}

func (b losesDuplicates) GetMany(ctx context.Context, keys []string) []backends.Result {
	rs := b.Batcher.GetMany(ctx, keys)
	for i, k := range keys {
		if slices.Index(keys, k) < i {
			rs[i] = backends.Result{Err: backends.ErrMiss}
		}
	}
	return rs
}

// brokenLease has a Fill and a Release of its own.
type brokenLease struct {
	backends.Lease
	fill    func(ctx context.Context, it backends.Item) error
	release func(ctx context.Context) error
}

func (l brokenLease) Fill(ctx context.Context, it backends.Item) error {
	if l.fill != nil {
		return l.fill(ctx, it)
	}
	return l.Lease.Fill(ctx, it)
}

func (l brokenLease) Release(ctx context.Context) error {
	if l.release != nil {
		return l.release(ctx)
	}
	return l.Lease.Release(ctx)
}

func (b fillsUnchecked) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	l, it, err := b.Leaser.Acquire(ctx, key, hold)
	if l != nil {
		l = brokenLease{Lease: l, fill: func(ctx context.Context, it backends.Item) error { return b.store.Set(ctx, key, it) }}
	}
	return l, it, err
}

// fillsIfLeased is a lease with one token for everybody: it knows that the key is leased, not
// to whom.
func (b fillsIfLeased) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	l, it, err := b.Leaser.Acquire(ctx, key, hold)
	if l == nil {
		return nil, it, err
	}
	return brokenLease{Lease: l, fill: func(ctx context.Context, it backends.Item) error {
		if _, err := b.store.Get(ctx, key); errors.Is(err, backends.ErrLeased) {
			return b.store.Set(ctx, key, it)
		}
		return backends.ErrLeaseLost
	}}, it, err
}

func (b blindRelease) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	l, it, err := b.Leaser.Acquire(ctx, key, hold)
	if l != nil {
		l = brokenLease{Lease: l, release: func(ctx context.Context) error { return b.store.Delete(ctx, key) }}
	}
	return l, it, err
}

func (b grantsAll) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	l, it, err := b.Leaser.Acquire(ctx, key, hold)
	if errors.Is(err, backends.ErrLeased) {
		_ = b.store.Delete(ctx, key)
		return b.Leaser.Acquire(ctx, key, hold)
	}
	return l, it, err
}

func (b setsAnyVersion) SetNewer(ctx context.Context, key string, it backends.Item) error {
	return b.Set(ctx, key, it)
}

func (b holdsNothing) DeleteHold(ctx context.Context, key string, _ time.Duration, _ uint64) error {
	return b.Delete(ctx, key)
}

func (b touchesAbsent) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if err := b.Toucher.Touch(ctx, key, ttl); !errors.Is(err, backends.ErrMiss) {
		return err
	}
	return nil
}

func (b addsToInitial) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	return b.Incrementer.Increment(ctx, key, delta, initial+delta, ttl)
}

func (b movesWindow) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	n, err := b.Incrementer.Increment(ctx, key, delta, initial, ttl)
	if err == nil {
		err = b.toucher.Touch(ctx, key, ttl)
	}
	return n, err
}

func (b forgetsSomeKeys) Scan(ctx context.Context, cursor string, yield func([]string, string) error) error {
	return b.Scanner.Scan(ctx, cursor, func(keys []string, next string) error {
		return yield(keys[min(1, len(keys)):], next)
	})
}

func (flushesNobody) PublishFlush(context.Context) error { return nil }

func (b agesNothing) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	it, err := b.TTLer.GetTTL(ctx, key)
	it.TTL = b.ttl
	return it, err
}

// faults names every broken store, the case that must see it, and how it is made from a good
// one.
var faults = []struct {
	name, seenBy string
	byModel      bool
	make         func(b *broken, good *memory.Store) backends.Store
}{
	{"delete does nothing", "get_set/DeletedIsGone", true, func(b *broken, _ *memory.Store) backends.Store { return deletesNothing{b} }},
	{"failures are misses", "ctx/CancelledIsNoAnswer", false, func(b *broken, _ *memory.Store) backends.Store { return anyErrorIsAMiss{b} }},
	{"long keys are cut", "keys/WeirdKeysAreKeysLikeAnyOther", false, func(b *broken, _ *memory.Store) backends.Store { return cutsKeys{b} }},
	{"values end at NUL", "values/BytesComeBackAsTheyWere", true, func(b *broken, _ *memory.Store) backends.Store { return trimsValues{b} }},
	{"short TTLs are cut to none", "ttl/TinyTTLIsNeverForever", true, func(b *broken, _ *memory.Store) backends.Store { return dropsTTL{b} }},
	{"ctx is ignored", "ctx/DeadlinePassedIsNoAnswer", false, func(b *broken, _ *memory.Store) backends.Store { return ignoresCtx{b} }},
	{"empty keys are taken", "keys/EmptyKeyIsRefused", false, func(b *broken, _ *memory.Store) backends.Store { return takesEmptyKeys{b} }},
	{"negative TTLs are taken", "get_set/NegativeTTLIsRefused", false, func(b *broken, _ *memory.Store) backends.Store { return takesNegative{b} }},
	{"add overwrites", "cas/AddStoresOnlyIfAbsent", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.CASer = addOverwrites{good}
		return b
	}},
	{"two adds win", "concurrency/OneAddWins", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.CASer = addOverwrites{good}
		return b
	}},
	{"swap takes any version", "cas/SwapOfAnOldVersionConflicts", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.CASer = swapsAnyVersion{good}
		return b
	}},
	{"a capability is only claimed", "caps/ClaimedIsSupported", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.CASer = refusesAll{good}
		return b
	}},
	{"tokens without a CASer", "caps/TokensIfAndOnlyIfCASer", false, func(b *broken, _ *memory.Store) backends.Store {
		b.caps.CASer, b.caps.Refresher = nil, nil
		return b
	}},
	{"BatchLeaser without Leaser", "caps/RecordIsConsistent", false, func(b *broken, _ *memory.Store) backends.Store {
		b.caps.Leaser = nil
		return b
	}},
	{"flags are claimed and lost", "get_set/FlagsSurviveOrAreZero", false, func(b *broken, _ *memory.Store) backends.Store {
		b.caps.Flags = false
		return b
	}},
	{"the limit is understated", "caps/MaxValueBytesIsTheLimit", false, func(b *broken, _ *memory.Store) backends.Store {
		b.caps.MaxValueBytes /= 2
		return b
	}},
	{"batches are shifted", "batch/GetManyAnswersPerKeyInOrder", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Batcher = shiftsBatches{good}
		return b
	}},
	{"duplicates in batches are lost", "batch/DuplicateKeysAreAnsweredEach", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Batcher = losesDuplicates{good}
		return b
	}},
	{"fill without a check", "lease/FillAfterDeleteIsLost", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Leaser = fillsUnchecked{good, good}
		return b
	}},
	{"one lease token for all", "lease/TokenIsUniquePerAcquisition", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Leaser = fillsIfLeased{good, good}
		return b
	}},
	{"release deletes blindly", "lease/ReleaseRemovesNothingButTheLease", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Leaser = blindRelease{good, good}
		return b
	}},
	{"a lease for everybody", "concurrency/OneLeaseIsGranted", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Leaser = grantsAll{good, good}
		return b
	}},
	{"versions are ignored", "version/OnlyNewerIsStored", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Versioner = setsAnyVersion{good}
		return b
	}},
	{"hold-off is a delete", "tombstone/FillsAreHeldOff", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Tombstoner = holdsNothing{good}
		return b
	}},
	{"touch of nothing succeeds", "touch/AbsentKeyIsAMiss", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Toucher = touchesAbsent{good, good}
		return b
	}},
	{"delta is added to initial", "increment/AbsentStartsAtInitial", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Incrementer = addsToInitial{good}
		return b
	}},
	{"every event moves the window", "increment/TTLIsOfTheFirst", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Incrementer = movesWindow{good, good}
		return b
	}},
	{"scan leaves keys out", "scan/ListsWhatWasThereAllTheTime", false, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Scanner = forgetsSomeKeys{good}
		return b
	}},
	{"a flush is not told", "invalidate/FlushReachesOtherProcesses", false, func(b *broken, good *memory.Store) backends.Store {
		b.caps.Invalidator = flushesNobody{good}
		return b
	}},
	{"GetTTL tells the first TTL", "ttl/GetTTLKnowsWhatRemains", true, func(b *broken, good *memory.Store) backends.Store {
		b.caps.TTLer = agesNothing{good, 100 * time.Hour}
		return b
	}},
}

// brokenHarness makes the harness of one fault; nil is no fault.
func brokenHarness(fault func(b *broken, good *memory.Store) backends.Store) backendtest.Harness {
	clock := newClock()
	good := memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 20})
	b := &broken{Store: good, caps: backends.CapsOf(good)}
	h := backendtest.Harness{Store: b, Advance: clock.Advance, TTLResolution: 1}
	if fault != nil {
		h.Store = fault(b, good)
	}
	h.Peer = h.Store
	return h
}

func caseNamed(t *testing.T, name string) backendtest.Case {
	t.Helper()
	for _, c := range backendtest.Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %q", name)
	return backendtest.Case{}
}

func TestSuite_SeesEveryFault(t *testing.T) {
	for _, f := range faults {
		// In a bubble, a case that waits for what never comes does not cost real time.
		run := func(t *testing.T) {
			c := caseNamed(t, f.seenBy)
			h := brokenHarness(f.make)
			if !c.Applies(h) {
				t.Fatalf("%s does not apply", c.Name)
			}
			failures := backendtest.Record(t.Context(), func(rt backendtest.T) { c.Run(rt, h) }).Wait()
			if len(failures) == 0 {
				t.Errorf("%s passed", c.Name)
			}
			whole := brokenHarness(nil)
			if failures := backendtest.Record(t.Context(), func(rt backendtest.T) { c.Run(rt, whole) }).Wait(); len(failures) > 0 {
				t.Errorf("%s fails without the fault too: %q", c.Name, failures)
			}
		}
		t.Run(f.name, func(t *testing.T) { synctest.Test(t, run) })
	}
}

// An item that is served after its time needs a clock that the store does not follow.
func TestSuite_SeesExpiredItemsServed(t *testing.T) {
	stopped := newClock()
	h := backendtest.Harness{
		Store:   memory.New(memory.Config{Now: stopped.Now}),
		Advance: func(time.Duration) {},
	}
	for _, name := range []string{
		"ttl/ItemIsGoneAfterItsTTLAndNotBefore", "ttl/SetReplacesTheTTL", "cas/AddHonoursItsTTL", "cas/SwapHonoursItsTTL",
		"lease/RunsOut", "lease/FillHonoursItsTTL", "refresh/RightRunsOut", "fence/RunsOut", "version/HonoursItsTTL",
		"tombstone/RunsOut", "touch/ChangesTheLifetime", "increment/TTLIsOfTheFirst",
	} {
		c := caseNamed(t, name)
		if failures := backendtest.Record(t.Context(), func(rt backendtest.T) { c.Run(rt, h) }).Wait(); len(failures) == 0 {
			t.Errorf("%s passed on a store that expires nothing", name)
		}
	}
}

func TestModel_SeesEveryFault(t *testing.T) {
	for _, f := range faults {
		if !f.byModel {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(2000) {
				random := rand.New(rand.NewPCG(seed, 1))
				failures := backendtest.Record(t.Context(), func(rt backendtest.T) {
					backendtest.RunModelOnce(rt, brokenHarness(f.make), 40, func(n int, _ string) int { return random.IntN(n) })
				}).Wait()
				if len(failures) > 0 {
					return
				}
			}
			t.Error("2000 random runs did not see it")
		})
	}
}

func TestRecorder_KeepsFailuresAndEndsAtTheFirstFatal(t *testing.T) {
	got := backendtest.Record(t.Context(), func(rt backendtest.T) {
		rt.Errorf("one %d", 1)
		rt.Fatalf("two")
		rt.Errorf("three")
	}).Wait()
	if len(got) != 2 {
		t.Errorf("got %q, want the first two", got)
	}
	got = backendtest.Record(t.Context(), func(backendtest.T) { panic("oops") }).Wait()
	if len(got) != 1 {
		t.Errorf("got %q, want the panic", got)
	}
}

func TestCases_HaveUniqueNamesAndReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range backendtest.Cases() {
		if seen[c.Name] || c.Why == "" {
			t.Errorf("%s: named twice, or without a why", c.Name)
		}
		seen[c.Name] = true
	}
}
