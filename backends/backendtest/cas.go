package backendtest

import (
	"errors"

	"github.com/hearthcache/hearth/backends"
)

var casCases = []Case{
	{
		Name:  "cas/AddStoresOnlyIfAbsent",
		Why:   "two creators of one record: the second must hear that it was late",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.caps.CASer.Add(e.ctx, k, item("one")), "add")
			e.is(e.caps.CASer.Add(e.ctx, k, item("two")), backends.ErrExists, "second add")
			e.holds(k, "one")
			e.delete(k)
			e.ok(e.caps.CASer.Add(e.ctx, k, item("three")), "add after delete")
			e.holds(k, "three")
		},
	},
	{
		Name:  "cas/AddHonoursItsTTL",
		Why:   "an added lock or marker that never goes is a service that stands still",
		needs: needCASer,
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.caps.CASer.Add(e.ctx, k, itemTTL("one", e.unit)), "add")
			e.outlive(e.unit)
			e.missing(k)
			e.ok(e.caps.CASer.Add(e.ctx, k, item("two")), "add after expiry")
			e.holds(k, "two")
		},
	},
	{
		Name:  "cas/SwapOfTheReadVersionIsStored",
		Why:   "it is how Update works",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			e.ok(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), item("two")), "compare-and-swap")
			e.holds(k, "two")
			e.ok(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), item("three")), "next compare-and-swap")
			e.holds(k, "three")
		},
	},
	{
		Name:  "cas/SwapOfAnOldVersionConflicts",
		Why:   "a lost update",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			tok := e.token(k)
			e.set(k, "two")
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, tok, item("mine")), backends.ErrConflict, "compare-and-swap")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, k, tok), backends.ErrConflict, "compare-and-delete")
			e.holds(k, "two")
		},
	},
	{
		Name:  "cas/SwapOfAGoneKeyIsAMiss",
		Why:   "a deleted record must not come back through an update",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			tok := e.token(k)
			e.delete(k)
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, tok, item("mine")), backends.ErrMiss, "compare-and-swap")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, k, tok), backends.ErrMiss, "compare-and-delete")
			e.missing(k)
		},
	},
	{
		Name:  "cas/SwapHonoursItsTTL",
		Why:   "an updated value has the lifetime of the update",
		needs: needCASer,
		waits: true,
		run: func(e *env) {
			short, long := e.key("short"), e.key("long")
			e.set(short, "one")
			e.ok(e.caps.CASer.CompareAndSwap(e.ctx, short, e.token(short), itemTTL("two", e.unit)), "compare-and-swap")
			e.setItem(long, itemTTL("one", e.unit))
			e.ok(e.caps.CASer.CompareAndSwap(e.ctx, long, e.token(long), item("two")), "compare-and-swap")
			e.outlive(e.unit)
			e.missing(short)
			e.holds(long, "two")
		},
	},
	{
		Name:  "cas/DeleteOfTheReadVersion",
		Why:   "a conditional delete must not take a newer value along",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			tok := e.token(k)
			e.ok(e.caps.CASer.CompareAndDelete(e.ctx, k, tok), "compare-and-delete")
			e.absent(k)
		},
	},
	{
		Name:  "cas/ForeignTokensAreRefused",
		Why:   "a zero token that matches anything is a blind overwrite",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, backends.Token{}, item("mine")), backends.ErrBadToken, "zero token")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, k, backends.Token{}), backends.ErrBadToken, "zero token")
			e.holds(k, "one")
			other := backends.ValueToken("one")
			if _, ok := e.token(k).Value(); ok {
				other = backends.IDToken(1)
			}
			if err := e.caps.CASer.CompareAndSwap(e.ctx, k, other, item("mine")); !errors.Is(err, backends.ErrBadToken) && !errors.Is(err, backends.ErrConflict) {
				e.Errorf("token of another kind of store: %v, want ErrBadToken", err)
			}
			e.holds(k, "one")
		},
	},
	{
		Name:  "cas/RefusalsChangeNothing",
		Why:   "gomemcache's failed oversize set deletes the old value; a refusal is before the wire",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), itemTTL("mine", -1)), backends.ErrInvalidTTL, "compare-and-swap")
			e.is(e.caps.CASer.Add(e.ctx, e.key("new"), itemTTL("mine", -1)), backends.ErrInvalidTTL, "add")
			e.is(e.caps.CASer.Add(e.ctx, "", item("mine")), backends.ErrEmptyKey, "add")
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, "", e.token(k), item("mine")), backends.ErrEmptyKey, "compare-and-swap")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, "", e.token(k)), backends.ErrEmptyKey, "compare-and-delete")
			e.holds(k, "one")
			e.missing(e.key("new"))
		},
	},
	{
		Name:  "cas/SwapOfBinaryAndEmptyValues",
		Why:   "comparison by value inside a script must be binary-safe",
		needs: needCASer,
		run: func(e *env) {
			k := e.key("k")
			for _, v := range []string{"", "\x00\r\n\xff'\"", "", "plain"} {
				e.set(k, v)
				e.ok(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), item(v+"+")), "compare-and-swap")
				e.holds(k, v+"+")
			}
		},
	},
	{
		Name:  "cas/LeaseIsNoValue",
		Why:   "a lease must neither keep a creator out nor be swapped as if it were the record",
		needs: both(needCASer, needLeaser),
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			tok := e.token(k)
			e.delete(k)
			l := e.acquire(k, hour)
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, tok, item("mine")), backends.ErrMiss, "compare-and-swap on a leased key")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, k, tok), backends.ErrMiss, "compare-and-delete on a leased key")
			e.ok(e.caps.CASer.Add(e.ctx, k, item("added")), "add over a lease")
			e.is(l.Fill(e.ctx, item("filled")), backends.ErrLeaseLost, "fill after an add")
			e.holds(k, "added")
		},
	},
}
