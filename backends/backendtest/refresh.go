package backendtest

import (
	"github.com/hearthcache/hearth/backends"
)

// acquireRefresh wants the right to refresh what key holds.
func (e *env) acquireRefresh(key string) backends.Lease {
	e.Helper()
	l, err := e.caps.Refresher.AcquireRefresh(e.ctx, key, e.token(key), hour)
	if err != nil || l == nil {
		e.Fatalf("acquirerefresh: lease %v, error %v; want the lease", l, err)
	}
	return l
}

var refreshCases = []Case{
	{
		Name:  "refresh/ReadersKeepTheValue",
		Why:   "a refresh ahead of expiry must not make anybody miss",
		needs: needRefresher,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			l := e.acquireRefresh(k)
			e.holds(k, "old")
			e.ok(l.Fill(e.ctx, item("new")), "fill")
			e.holds(k, "new")
		},
	},
	{
		Name:  "refresh/OnlyOneRefreshes",
		Why:   "a popular key that grows old must cost one load",
		needs: needRefresher,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			l := e.acquireRefresh(k)
			_, err := e.caps.Refresher.AcquireRefresh(e.ctx, k, e.token(k), hour)
			e.is(err, backends.ErrLeased, "second acquirerefresh")
			e.ok(l.Release(e.ctx), "release")
			e.holds(k, "old")
			e.ok(e.acquireRefresh(k).Fill(e.ctx, item("new")), "fill by the next")
			e.holds(k, "new")
		},
	},
	{
		Name:  "refresh/FillMakesWayForTheNext",
		Why:   "the next refresh must not wait for the side key of the last to run out",
		needs: needRefresher,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			e.ok(e.acquireRefresh(k).Fill(e.ctx, item("two")), "fill")
			e.ok(e.acquireRefresh(k).Fill(e.ctx, item("three")), "next fill")
			e.holds(k, "three")
		},
	},
	{
		Name:  "refresh/FillAfterChangeIsLost",
		Why:   "the fence: a refresh that was overtaken by a write or delete must not undo it",
		needs: needRefresher,
		run: func(e *env) {
			set, gone := e.key("set"), e.key("gone")
			e.set(set, "old")
			e.set(gone, "old")
			l1, l2 := e.acquireRefresh(set), e.acquireRefresh(gone)
			e.set(set, "newer")
			e.delete(gone)
			e.is(l1.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill after set")
			e.is(l2.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill after delete")
			e.holds(set, "newer")
			e.missing(gone)
		},
	},
	{
		Name:  "refresh/OldVersionCannotBeRefreshed",
		Why:   "a reader that holds an old copy must not replace the new one",
		needs: needRefresher,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			tok := e.token(k)
			e.set(k, "new")
			if l, err := e.caps.Refresher.AcquireRefresh(e.ctx, k, tok, hour); err == nil {
				e.is(l.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill over another version")
			}
			e.holds(k, "new")
			_, err := e.caps.Refresher.AcquireRefresh(e.ctx, k, backends.Token{}, hour)
			e.is(err, backends.ErrBadToken, "acquirerefresh with the zero token")
		},
	},
	{
		Name:  "refresh/RightRunsOut",
		Why:   "a refresher that died must not stop all refreshes of the key",
		needs: needRefresher,
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			_, err := e.caps.Refresher.AcquireRefresh(e.ctx, k, e.token(k), e.unit)
			e.ok(err, "acquirerefresh")
			e.outlive(e.unit)
			e.holds(k, "old")
			e.ok(e.acquireRefresh(k).Fill(e.ctx, item("new")), "fill by the next")
			e.holds(k, "new")
		},
	},
}
