package backendtest

import (
	"fmt"

	"github.com/hearthcache/hearth/backends"
)

// wantResults wants one result per value; "" is a miss.
func (e *env) wantResults(rs []backends.Result, values ...string) {
	e.Helper()
	if len(rs) != len(values) {
		e.Fatalf("got %d results for %d keys", len(rs), len(values))
	}
	for i, want := range values {
		switch {
		case want == "":
			e.is(rs[i].Err, backends.ErrMiss, fmt.Sprintf("entry %d", i))
		case rs[i].Err != nil:
			e.Fatalf("entry %d: %v, want %q", i, rs[i].Err, want)
		case string(rs[i].Item.Value) != want:
			e.Fatalf("entry %d: got %.60q, want %q", i, rs[i].Item.Value, want)
		}
	}
}

var batchCases = []Case{
	{
		Name:  "batch/GetManyAnswersPerKeyInOrder",
		Why:   "a shifted batch hands one user another user's record",
		needs: needBatcher,
		run: func(e *env) {
			ks := e.keys("a", "none", "b", "none2", "c")
			for _, i := range []int{4, 0, 2} {
				e.set(ks[i], fmt.Sprint("v", i))
			}
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, ks), "v0", "", "v2", "", "v4")
		},
	},
	{
		Name:  "batch/DuplicateKeysAreAnsweredEach",
		Why:   "callers pass ids as they come; a map inside a client must not eat the second",
		needs: needBatcher,
		run: func(e *env) {
			a, none := e.key("a"), e.key("none")
			e.set(a, "A")
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, []string{a, none, a, a, none}), "A", "", "A", "A", "")
			e.allOK(e.caps.Batcher.SetMany(e.ctx, []backends.KeyItem{{Key: a, Item: item("1")}, {Key: a, Item: item("2")}}), "setmany")
			e.holds(a, "2")
			e.allOK(e.caps.Batcher.DeleteMany(e.ctx, []string{a, a, none}), "deletemany")
			e.missing(a)
		},
	},
	{
		Name:  "batch/EmptyBatchesAreFine",
		Why:   "MGET without keys is a protocol error; a loop that found nothing to ask must not fail",
		needs: needBatcher,
		run: func(e *env) {
			if rs := e.caps.Batcher.GetMany(e.ctx, nil); len(rs) != 0 {
				e.Errorf("getmany of nothing: %v", rs)
			}
			e.allOK(e.caps.Batcher.SetMany(e.ctx, nil), "setmany of nothing")
			e.allOK(e.caps.Batcher.DeleteMany(e.ctx, []string{}), "deletemany of nothing")
		},
	},
	{
		Name:  "batch/SetManyStoresAll",
		Why:   "a batch that stores some and says it stored all leaves stale values behind",
		needs: needBatcher,
		run: func(e *env) {
			entries := []backends.KeyItem{
				{Key: e.key("a"), Item: item("A")},
				{Key: e.key("b"), Item: itemTTL("B", hour)},
				{Key: e.key("c"), Item: item("")},
			}
			e.set(entries[0].Key, "old")
			if errs := e.caps.Batcher.SetMany(e.ctx, entries); errs != nil {
				e.Fatalf("setmany: %v, want nil when all were stored", errs)
			}
			for _, en := range entries {
				e.holdsItem(en.Key, en.Item)
			}
		},
	},
	{
		Name:  "batch/SetManyRefusesPerEntry",
		Why:   "one bad entry must not lose the good ones, nor pass in silence",
		needs: needBatcher,
		run: func(e *env) {
			good, bad := e.key("good"), e.key("bad")
			e.set(bad, "old")
			errs := e.caps.Batcher.SetMany(e.ctx, []backends.KeyItem{
				{Key: bad, Item: itemTTL("new", -1)}, {Key: good, Item: item("G")}, {Key: "", Item: item("x")},
			})
			if len(errs) != 3 {
				e.Fatalf("setmany: %d outcomes for 3 entries", len(errs))
			}
			e.is(errs[0], backends.ErrInvalidTTL, "entry with a negative TTL")
			e.ok(errs[1], "good entry")
			e.is(errs[2], backends.ErrEmptyKey, "entry with an empty key")
			e.holds(good, "G")
			e.holds(bad, "old")
		},
	},
	{
		Name:  "batch/DeleteManyRemovesAll",
		Why:   "promise C1 for many keys",
		needs: needBatcher,
		run: func(e *env) {
			ks := e.keys("a", "b", "none", "c")
			for _, k := range []string{ks[0], ks[1], ks[3], e.key("stays")} {
				e.set(k, "v")
			}
			if errs := e.caps.Batcher.DeleteMany(e.ctx, ks); errs != nil {
				e.Fatalf("deletemany: %v, want nil when all are gone", errs)
			}
			for _, k := range ks {
				e.missing(k)
			}
			e.holds(e.key("stays"), "v")
		},
	},
	{
		Name:  "batch/ManyKeysAreAllAnswered",
		Why:   "batches beyond what one request holds must be split, not cut",
		needs: needBatcher,
		run: func(e *env) {
			const n = 1500
			entries, keys, want := make([]backends.KeyItem, n), make([]string, n), make([]string, n)
			for i := range n {
				keys[i], want[i] = e.key(fmt.Sprint("k", i)), fmt.Sprint("v", i)
				entries[i] = backends.KeyItem{Key: keys[i], Item: itemTTL(want[i], hour)}
			}
			e.allOK(e.caps.Batcher.SetMany(e.ctx, entries), "setmany")
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, keys), want...)
			e.allOK(e.caps.Batcher.DeleteMany(e.ctx, keys), "deletemany")
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, keys), make([]string, n)...)
		},
	},
	{
		Name:  "batch/EmptyKeyFailsAlone",
		Why:   "an empty key is a command injection in memcached; its neighbours are fine",
		needs: needBatcher,
		run: func(e *env) {
			a := e.key("a")
			e.set(a, "A")
			rs := e.caps.Batcher.GetMany(e.ctx, []string{"", a})
			if len(rs) != 2 {
				e.Fatalf("got %d results for 2 keys", len(rs))
			}
			e.is(rs[0].Err, backends.ErrEmptyKey, "empty key")
			e.ok(rs[1].Err, "its neighbour")
			errs := e.caps.Batcher.DeleteMany(e.ctx, []string{"", a})
			if len(errs) != 2 {
				e.Fatalf("deletemany: %d outcomes for 2 keys", len(errs))
			}
			e.is(errs[0], backends.ErrEmptyKey, "empty key")
			e.ok(errs[1], "its neighbour")
			e.missing(a)
		},
	},
	{
		Name:  "batch/LeasedKeyIsAMiss",
		Why:   "a placeholder decoded as a value is garbage in a user's hands",
		needs: both(needBatcher, needLeaser),
		run: func(e *env) {
			a, leased := e.key("a"), e.key("leased")
			e.set(a, "A")
			e.acquire(leased, hour)
			rs := e.caps.Batcher.GetMany(e.ctx, []string{leased, a})
			e.wantResults(rs, "", "A")
			e.is(rs[0].Err, backends.ErrLeased, "leased key in a batch")
		},
	},
	{
		Name:  "batch/TokensAreThoseOfGet",
		Why:   "an update after a batch read compares with the batch's token",
		needs: both(needBatcher, needCASer),
		run: func(e *env) {
			a := e.key("a")
			e.set(a, "A")
			tok := e.caps.Batcher.GetMany(e.ctx, []string{a})[0].Item.Token
			e.ok(e.caps.CASer.CompareAndSwap(e.ctx, a, tok, item("B")), "compare-and-swap with a batch's token")
			e.holds(a, "B")
		},
	},
}
