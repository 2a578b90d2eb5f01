package backendtest

import (
	"context"

	"github.com/hearthcache/hearth/backends"
)

var leaseCases = []Case{
	{
		Name:  "lease/MissingKeyIsLeasedAndFilled",
		Why:   "it is how a miss becomes a hit",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.getErr(k, backends.ErrLeased)
			e.ok(l.Fill(e.ctx, item("v")), "fill")
			e.holds(k, "v")
		},
	},
	{
		Name:  "lease/OnlyOneHolds",
		Why:   "a cold key must cost one load, not one per process",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.acquireErr(k, backends.ErrLeased)
			e.ok(l.Fill(e.ctx, item("v")), "fill by the first")
			e.holds(k, "v")
		},
	},
	{
		Name:  "lease/FilledKeyIsAHitForAcquire",
		Why:   "whoever comes late gets the value with the refusal, without a second round trip",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			l, it, err := e.caps.Leaser.Acquire(e.ctx, k, hour)
			e.ok(err, "acquire of a key that holds a value")
			if l != nil || string(it.Value) != "v" {
				e.Fatalf("acquire: got lease %v and %q, want no lease and \"v\"", l, it.Value)
			}
			e.holds(k, "v")
		},
	},
	{
		Name:  "lease/FillAfterDeleteIsLost",
		Why:   "the fence: a slow loader must not store what was invalidated while it loaded",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.delete(k)
			e.is(l.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill after delete")
			e.absent(k)
		},
	},
	{
		Name:  "lease/FillAfterSetIsLost",
		Why:   "the fence: a slow loader must not overwrite a newer value",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.set(k, "new")
			e.holds(k, "new")
			e.is(l.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill after set")
			e.ok(l.Release(e.ctx), "release of a lost lease")
			e.holds(k, "new")
		},
	},
	{
		Name:  "lease/TokenIsUniquePerAcquisition",
		Why:   "with one token per client an old load of the same process passes for the new one (ABA)",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			first := e.acquire(k, hour)
			e.delete(k)
			second := e.acquire(k, hour)
			e.is(first.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill by the first after delete and acquire")
			e.ok(first.Release(e.ctx), "release by the first")
			e.getErr(k, backends.ErrLeased)
			e.ok(second.Fill(e.ctx, item("fresh")), "fill by the second")
			e.holds(k, "fresh")
		},
	},
	{
		Name:  "lease/ReleaseMakesWayAtOnce",
		Why:   "after a failed load the next reader should not wait for the lease to run out",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.ok(l.Release(e.ctx), "release")
			e.absent(k)
			e.is(l.Fill(e.ctx, item("late")), backends.ErrLeaseLost, "fill after release")
			next := e.acquire(k, hour)
			e.ok(next.Fill(e.ctx, item("v")), "fill")
			e.holds(k, "v")
		},
	},
	{
		Name:  "lease/ReleaseRemovesNothingButTheLease",
		Why:   "a blind delete on release takes somebody else's fresh value",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.ok(l.Fill(e.ctx, item("v")), "fill")
			e.ok(l.Release(e.ctx), "release after fill")
			e.holds(k, "v")
			e.is(l.Fill(e.ctx, item("w")), backends.ErrLeaseLost, "second fill of a spent lease")
			e.holds(k, "v")
		},
	},
	{
		Name:  "lease/RunsOut",
		Why:   "a loader that died must not keep a key cold for ever, nor store when it wakes up",
		needs: needLeaser,
		waits: true,
		run: func(e *env) {
			k, taken := e.key("k"), e.key("taken")
			l, old := e.acquire(k, e.unit), e.acquire(taken, e.unit)
			e.outlive(e.unit)
			e.absent(k)
			e.is(l.Fill(e.ctx, item("late")), backends.ErrLeaseLost, "fill after the lease ran out")
			e.missing(k)
			next := e.acquire(taken, hour)
			e.is(old.Fill(e.ctx, item("late")), backends.ErrLeaseLost, "fill over the next holder's lease")
			e.ok(old.Release(e.ctx), "release of a lost lease")
			e.ok(next.Fill(e.ctx, item("v")), "fill by the next holder")
			e.holds(taken, "v")
		},
	},
	{
		Name:  "lease/FillHonoursItsTTL",
		Why:   "the value's lifetime is its own, not what remained of the lease",
		needs: needLeaser,
		waits: true,
		run: func(e *env) {
			short, forever := e.key("short"), e.key("forever")
			e.ok(e.acquire(short, hour).Fill(e.ctx, itemTTL("v", e.unit)), "fill")
			e.ok(e.acquire(forever, 2*e.unit).Fill(e.ctx, item("v")), "fill")
			e.holds(short, "v")
			e.outlive(2 * e.unit)
			e.missing(short)
			e.holds(forever, "v")
		},
	},
	{
		Name:  "lease/RefusedFillKeepsTheLease",
		Why:   "a value too large to store is no reason to give up the fence",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.is(l.Fill(e.ctx, itemTTL("v", -1)), backends.ErrInvalidTTL, "fill with a negative TTL")
			e.getErr(k, backends.ErrLeased)
			e.ok(l.Release(e.ctx), "release")
			e.absent(k)
		},
	},
	{
		Name:  "lease/NoHoldNoLease",
		Why:   "a hold of zero sent as 'no expiry' locks the key for ever",
		needs: needLeaser,
		run: func(e *env) {
			for _, k := range e.keys("zero", "negative") {
				hold := 0 * e.unit
				if k == e.key("negative") {
					hold = -e.unit
				}
				if l, _, err := e.caps.Leaser.Acquire(e.ctx, k, hold); err == nil || l != nil {
					e.Errorf("acquire for %v: lease %v, error %v; want it refused", hold, l, err)
				}
				e.absent(k)
			}
			_, _, err := e.caps.Leaser.Acquire(e.ctx, "", hour)
			e.is(err, backends.ErrEmptyKey, "acquire of the empty key")
		},
	},
	{
		Name:  "lease/FillKeepsFlagsAndBinary",
		Why:   "a fill is a set behind a fence, nothing else",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			it := backends.Item{Value: []byte("\x00\r\n\xff"), Flags: 7}
			e.ok(e.acquire(k, hour).Fill(e.ctx, it), "fill")
			e.holdsItem(k, it)
			if got := e.get(k).Flags; e.caps.Flags && got != 7 {
				e.Errorf("flags %d, want 7", got)
			}
		},
	},
}

// foreignLease is a lease of no store.
type foreignLease struct{}

func (foreignLease) Fill(context.Context, backends.Item) error { return nil }
func (foreignLease) Release(context.Context) error             { return nil }

var batchLeaseCases = []Case{
	{
		Name:  "batch_lease/EachKeyAsAcquireHasIt",
		Why:   "a multi-get with some keys cold, some warm and some loading elsewhere is the usual one",
		needs: needBatchLease,
		run: func(e *env) {
			ks := e.keys("cold", "warm", "busy", "cold2")
			e.set(ks[1], "W")
			e.acquire(ks[2], hour)
			rs := e.caps.BatchLeaser.AcquireMany(e.ctx, append(ks, ""), hour)
			if len(rs) != 5 {
				e.Fatalf("got %d results for 5 keys", len(rs))
			}
			for _, i := range []int{0, 3} {
				if rs[i].Err != nil || rs[i].Lease == nil {
					e.Fatalf("cold key: lease %v, error %v", rs[i].Lease, rs[i].Err)
				}
			}
			if rs[1].Err != nil || rs[1].Lease != nil || string(rs[1].Item.Value) != "W" {
				e.Errorf("warm key: lease %v, %q, error %v", rs[1].Lease, rs[1].Item.Value, rs[1].Err)
			}
			e.is(rs[2].Err, backends.ErrLeased, "busy key")
			e.is(rs[4].Err, backends.ErrEmptyKey, "empty key")

			errs := e.caps.BatchLeaser.FillMany(e.ctx, []backends.Lease{rs[0].Lease, rs[3].Lease}, []backends.Item{item("1"), itemTTL("2", hour)})
			if errs != nil {
				e.Fatalf("fillmany: %v", errs)
			}
			e.holds(ks[0], "1")
			e.holds(ks[3], "2")
		},
	},
	{
		Name:  "batch_lease/LostLeasesAreLostAlone",
		Why:   "the fence holds per key",
		needs: needBatchLease,
		run: func(e *env) {
			ks := e.keys("a", "deleted", "overwritten")
			rs := e.caps.BatchLeaser.AcquireMany(e.ctx, ks, hour)
			leases := make([]backends.Lease, len(rs))
			for i, r := range rs {
				e.ok(r.Err, "acquiremany")
				leases[i] = r.Lease
			}
			e.delete(ks[1])
			e.set(ks[2], "new")
			errs := e.caps.BatchLeaser.FillMany(e.ctx, leases, []backends.Item{item("A"), item("B"), item("C")})
			if len(errs) != 3 {
				e.Fatalf("fillmany: %d outcomes for 3 leases", len(errs))
			}
			e.ok(errs[0], "fill of the standing lease")
			e.is(errs[1], backends.ErrLeaseLost, "fill after delete")
			e.is(errs[2], backends.ErrLeaseLost, "fill after set")
			e.holds(ks[0], "A")
			e.absent(ks[1])
			e.holds(ks[2], "new")
		},
	},
	{
		Name:  "batch_lease/ReleaseManyMakesWay",
		Why:   "after a failed batch load every key is free again, and values stay",
		needs: needBatchLease,
		run: func(e *env) {
			ks := e.keys("a", "b")
			rs := e.caps.BatchLeaser.AcquireMany(e.ctx, ks, hour)
			e.ok(rs[0].Err, "acquiremany")
			e.ok(rs[1].Err, "acquiremany")
			e.set(ks[1], "B")
			e.allOK(e.caps.BatchLeaser.ReleaseMany(e.ctx, []backends.Lease{rs[0].Lease, rs[1].Lease}), "releasemany")
			e.absent(ks[0])
			e.holds(ks[1], "B")
		},
	},
	{
		Name:  "batch_lease/ForeignLeasesAreRefused",
		Why:   "leases of another member of a composite must not be filled here",
		needs: needBatchLease,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			errs := e.caps.BatchLeaser.FillMany(e.ctx, []backends.Lease{foreignLease{}, l}, []backends.Item{item("x"), item("v")})
			if len(errs) != 2 {
				e.Fatalf("fillmany: %d outcomes for 2 leases", len(errs))
			}
			e.is(errs[0], backends.ErrBadToken, "foreign lease")
			e.ok(errs[1], "own lease")
			errs = e.caps.BatchLeaser.ReleaseMany(e.ctx, []backends.Lease{foreignLease{}})
			if len(errs) != 1 {
				e.Fatalf("releasemany: %d outcomes for 1 lease", len(errs))
			}
			e.is(errs[0], backends.ErrBadToken, "foreign lease")
			e.holds(k, "v")
		},
	},
	{
		Name:  "batch_lease/EmptyBatchesAreFine",
		Why:   "a batch in which nothing was cold",
		needs: needBatchLease,
		run: func(e *env) {
			if rs := e.caps.BatchLeaser.AcquireMany(e.ctx, nil, hour); len(rs) != 0 {
				e.Errorf("acquiremany of nothing: %v", rs)
			}
			e.allOK(e.caps.BatchLeaser.FillMany(e.ctx, nil, nil), "fillmany of nothing")
			e.allOK(e.caps.BatchLeaser.ReleaseMany(e.ctx, nil), "releasemany of nothing")
		},
	},
	{
		Name:  "batch_lease/OneLeaseForAKeyAskedTwice",
		Why:   "two leases for one key would be two loads and one lost fill",
		needs: needBatchLease,
		run: func(e *env) {
			k := e.key("k")
			leases := 0
			for _, r := range e.caps.BatchLeaser.AcquireMany(e.ctx, []string{k, k}, hour) {
				if r.Lease != nil {
					leases++
				} else {
					e.is(r.Err, backends.ErrLeased, "the other of two")
				}
			}
			if leases != 1 {
				e.Errorf("got %d leases for one key", leases)
			}
		},
	},
}
