package backendtest

import (
	"time"

	"github.com/hearthcache/hearth/backends"
)

// seize wants the lease on key, whatever it holds.
func (e *env) seize(key string, hold time.Duration) backends.Lease {
	e.Helper()
	l, err := e.caps.Fencer.Seize(e.ctx, key, hold)
	if err != nil || l == nil {
		e.Fatalf("seize: lease %v, error %v; want the lease", l, err)
	}
	return l
}

var fenceCases = []Case{
	{
		Name:  "fence/SeizeTakesValueLeaseAndNothing",
		Why:   "a write-through puts its lease there before it writes the source, whatever was there",
		needs: both(needFencer, needLeaser),
		run: func(e *env) {
			ks := e.keys("value", "leased", "absent")
			e.set(ks[0], "old")
			loader := e.acquire(ks[1], hour)
			for _, k := range ks {
				l := e.seize(k, hour)
				e.getErr(k, backends.ErrLeased)
				e.acquireErr(k, backends.ErrLeased)
				if k == ks[1] {
					e.is(loader.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill by the loader that was there before")
				}
				e.ok(l.Fill(e.ctx, item("new")), "fill")
				e.holds(k, "new")
			}
		},
	},
	{
		Name:  "fence/LastSeizerWins",
		Why:   "of two racing writers the cache must not keep the loser's value",
		needs: needFencer,
		run: func(e *env) {
			k := e.key("k")
			first := e.seize(k, hour)
			second := e.seize(k, hour)
			e.is(first.Fill(e.ctx, item("first")), backends.ErrLeaseLost, "fill by the first")
			e.ok(first.Release(e.ctx), "release by the first")
			e.getErr(k, backends.ErrLeased)
			e.ok(second.Fill(e.ctx, item("second")), "fill by the second")
			e.holds(k, "second")
		},
	},
	{
		Name:  "fence/DeleteEndsIt",
		Why:   "an invalidation during a write-through wins",
		needs: needFencer,
		run: func(e *env) {
			k := e.key("k")
			l := e.seize(k, hour)
			e.delete(k)
			e.is(l.Fill(e.ctx, item("v")), backends.ErrLeaseLost, "fill after delete")
			e.absent(k)
		},
	},
	{
		Name:  "fence/ReleaseLeavesNothing",
		Why:   "the old value must not come back when the write failed with an unknown outcome",
		needs: needFencer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			e.ok(e.seize(k, hour).Release(e.ctx), "release")
			e.absent(k)
		},
	},
	{
		Name:  "fence/RunsOut",
		Why:   "a writer that died must not keep the key cold for ever",
		needs: needFencer,
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			l := e.seize(k, e.unit)
			e.outlive(e.unit)
			e.absent(k)
			e.is(l.Fill(e.ctx, item("late")), backends.ErrLeaseLost, "fill after it ran out")
			e.absent(k)
		},
	},
	{
		Name:  "fence/NoVersionSurvivesIt",
		Why:   "an update that read before the write-through began must not pass",
		needs: both(needFencer, needCASer),
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			tok := e.token(k)
			e.seize(k, hour)
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, tok, item("mine")), backends.ErrMiss, "compare-and-swap")
		},
	},
}
