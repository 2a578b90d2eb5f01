package backendtest

import (
	"math"

	"github.com/hearthcache/hearth/backends"
)

var versionCases = []Case{
	{
		Name:  "version/OnlyNewerIsStored",
		Why:   "deliveries that arrive in the wrong order must not put the cache back",
		needs: needVersioner,
		run: func(e *env) {
			k := e.key("k")
			newer := func(v uint64, text string) error {
				return e.caps.Versioner.SetNewer(e.ctx, k, versioned(v, text))
			}
			e.ok(newer(5, "five"), "first")
			e.is(newer(4, "four"), backends.ErrOlder, "older")
			e.is(newer(5, "another five"), backends.ErrOlder, "same")
			e.holdsItem(k, versioned(5, "five"))
			e.ok(newer(6, "six"), "newer")
			e.holdsItem(k, versioned(6, "six"))
		},
	},
	{
		Name:  "version/ComparesAllSixtyFourBits",
		Why:   "a script that compares as floating point or by sign takes big versions for equal or older",
		needs: needVersioner,
		run: func(e *env) {
			k := e.key("k")
			up := []uint64{1, 255, 256, 1 << 32, 1<<53 + 1, 1<<53 + 2, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64}
			for i, v := range up {
				e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(v, "v")), "newer")
				if i > 0 {
					e.is(e.caps.Versioner.SetNewer(e.ctx, k, versioned(up[i-1], "older")), backends.ErrOlder, "older")
				}
			}
			e.holdsItem(k, versioned(math.MaxUint64, "v"))
		},
	},
	{
		Name:  "version/ForeignValueIsVersionZero",
		Why:   "a value written by another client gives way to any versioned one, and never replaces one",
		needs: needVersioner,
		run: func(e *env) {
			k, other := e.key("k"), e.key("other")
			e.ok(e.caps.Versioner.SetNewer(e.ctx, other, item("plain")), "plain over nothing")
			e.holds(other, "plain")
			e.is(e.caps.Versioner.SetNewer(e.ctx, other, item("plain2")), backends.ErrOlder, "plain over plain")
			e.set(k, "a plain value longer than a header")
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(1, "one")), "version 1 over plain")
			e.is(e.caps.Versioner.SetNewer(e.ctx, k, item("plain")), backends.ErrOlder, "plain over version 1")
			e.holdsItem(k, versioned(1, "one"))
		},
	},
	{
		Name:  "version/SetAndDeleteResetIt",
		Why:   "a plain write is an order, whatever version was there",
		needs: needVersioner,
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(9, "nine")), "setnewer")
			e.setItem(k, versioned(2, "two"))
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(3, "three")), "setnewer")
			e.delete(k)
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(1, "one")), "setnewer after delete")
			e.holdsItem(k, versioned(1, "one"))
		},
	},
	{
		Name:  "version/LeaseIsReplaced",
		Why:   "a versioned write needs no lease and ends one: the loader's value may be older",
		needs: both(needVersioner, needLeaser),
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(1, "one")), "setnewer over a lease")
			e.is(l.Fill(e.ctx, versioned(7, "loaded")), backends.ErrLeaseLost, "fill")
			e.holdsItem(k, versioned(1, "one"))
		},
	},
	{
		Name:  "version/HonoursItsTTL",
		Why:   "a versioned value lives as long as it says, not as long as the one before",
		needs: needVersioner,
		waits: true,
		run: func(e *env) {
			short, long := e.key("short"), e.key("long")
			it := versioned(2, "two")
			it.TTL = e.unit
			e.setItem(short, versioned(1, "one"))
			e.ok(e.caps.Versioner.SetNewer(e.ctx, short, it), "setnewer")
			old := versioned(1, "one")
			old.TTL = e.unit
			e.setItem(long, old)
			e.ok(e.caps.Versioner.SetNewer(e.ctx, long, versioned(2, "two")), "setnewer")
			e.outlive(e.unit)
			e.missing(short)
			e.holdsItem(long, versioned(2, "two"))
		},
	},
	{
		Name:  "version/RefusalsChangeNothing",
		Why:   "a refusal is before the wire",
		needs: needVersioner,
		run: func(e *env) {
			k := e.key("k")
			bad := versioned(3, "three")
			bad.TTL = -1
			e.is(e.caps.Versioner.SetNewer(e.ctx, k, bad), backends.ErrInvalidTTL, "setnewer")
			e.is(e.caps.Versioner.SetNewer(e.ctx, "", versioned(3, "three")), backends.ErrEmptyKey, "setnewer")
			e.absent(k)
		},
	},
}
