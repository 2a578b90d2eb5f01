package backendtest

import (
	"time"

	"github.com/hearthcache/hearth/backends"
)

var ttlCases = []Case{
	{
		Name:  "ttl/ItemIsGoneAfterItsTTLAndNotBefore",
		Why:   "served too long it is stale; gone too early it is a load for nothing",
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.setItem(k, itemTTL("v", 2*e.unit))
			e.pass(e.unit)
			e.holds(k, "v")
			e.outlive(e.unit)
			e.absent(k)
		},
	},
	{
		Name:  "ttl/ZeroIsUntilEvicted",
		Why:   "zero taken for 'expired' is a cache that stores nothing",
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			if ttl := e.get(k).TTL; ttl != 0 && ttl != backends.TTLUnknown {
				e.Errorf("get: TTL %v of an item without one, want 0 or TTLUnknown", ttl)
			}
			e.outlive(e.unit)
			e.holds(k, "v")
		},
	},
	{
		Name:  "ttl/TinyTTLIsNeverForever",
		Why:   "half a second cut down to 0 seconds is immortal on memcached and an error on Redis",
		waits: true,
		run: func(e *env) {
			ks := e.keys("ns", "us", "half")
			for i, ttl := range []time.Duration{1, time.Microsecond, e.TTLResolution/2 + 1} {
				e.setItem(ks[i], itemTTL("v", ttl))
			}
			e.outlive(max(e.TTLResolution, time.Microsecond))
			for _, k := range ks {
				e.missing(k)
			}
		},
	},
	{
		Name:  "ttl/LongTTLIsKept",
		Why:   "memcached takes more than 30 days for a date in 1970 and drops the item; 2038 overflows",
		waits: true,
		run: func(e *env) {
			day := 24 * hour
			for _, ttl := range []time.Duration{day, 30 * day, 30*day + time.Second, 31 * day, 365 * day, 100 * 365 * day} {
				k := e.key(ttl.String())
				e.setItem(k, itemTTL("v", ttl))
				e.holds(k, "v")
				if got := e.get(k).TTL; got != backends.TTLUnknown && (got <= 0 || got > ttl+e.TTLResolution) {
					e.Errorf("TTL %v: read back %v", ttl, got)
				}
			}
			e.outlive(e.unit)
			e.holds(e.key((31 * day).String()), "v")
		},
	},
	{
		Name:  "ttl/SetReplacesTheTTL",
		Why:   "a new value that dies with the old one's lifetime, or lives on for ever, is wrong twice",
		waits: true,
		run: func(e *env) {
			short, long := e.key("short"), e.key("long")
			e.setItem(short, itemTTL("v", e.unit))
			e.setItem(long, itemTTL("v", hour))
			e.set(short, "w")
			e.setItem(long, itemTTL("w", e.unit))
			e.outlive(e.unit)
			e.holds(short, "w")
			e.missing(long)
		},
	},
	{
		Name: "ttl/RemainingTTLIsTrue",
		Why:  "a promoted copy that lives longer than the original is stale for the difference",
		run: func(e *env) {
			k := e.key("k")
			e.setItem(k, itemTTL("v", hour))
			if got := e.get(k).TTL; got != backends.TTLUnknown && (got <= hour-time.Minute || got > hour+e.TTLResolution) {
				e.Errorf("get: TTL %v just after a set with 1h", got)
			}
		},
	},
	{
		Name:  "ttl/GetTTLKnowsWhatRemains",
		Why:   "migration copies with the remaining lifetime, never with none by accident",
		needs: needTTLer,
		waits: true,
		run: func(e *env) {
			k, forever := e.key("k"), e.key("forever")
			e.setItem(k, itemTTL("v", 4*e.unit))
			e.set(forever, "w")
			e.pass(e.unit)
			it, err := e.caps.TTLer.GetTTL(e.ctx, k)
			e.ok(err, "getttl")
			most := 3*e.unit + e.unit/4 + e.TTLResolution // a server's clock may lag on a busy machine
			if string(it.Value) != "v" || it.TTL <= 0 || it.TTL > most {
				e.Errorf("getttl: got %q for %v, want \"v\" for at most %v", it.Value, it.TTL, most)
			}
			it, err = e.caps.TTLer.GetTTL(e.ctx, forever)
			e.ok(err, "getttl")
			if string(it.Value) != "w" || it.TTL != 0 {
				e.Errorf("getttl: got %q for %v, want \"w\" for 0", it.Value, it.TTL)
			}
			_, err = e.caps.TTLer.GetTTL(e.ctx, e.key("absent"))
			e.is(err, backends.ErrMiss, "getttl of an absent key")
		},
	},
	{
		Name:  "ttl/GetTTLManyAnswersPerKey",
		Why:   "a batch promotion needs the lifetime of each key",
		needs: needTTLer,
		run: func(e *env) {
			ks := e.keys("a", "none", "b", "a")
			e.setItem(ks[0], itemTTL("A", hour))
			e.set(ks[2], "B")
			rs := e.caps.TTLer.GetTTLMany(e.ctx, ks)
			e.wantResults(rs, "A", "", "B", "A")
			for i, want := range []bool{true, false, false, true} {
				if got := rs[i].Item.TTL; (got > 0) != want || got < 0 {
					e.Errorf("entry %d: TTL %v", i, got)
				}
			}
			if rs := e.caps.TTLer.GetTTLMany(e.ctx, nil); len(rs) != 0 {
				e.Errorf("empty batch: %d results", len(rs))
			}
		},
	},
	{
		Name:  "ttl/GetTTLOfALeaseIsAMiss",
		Why:   "a copier that takes a placeholder for a value spreads it",
		needs: both(needTTLer, needLeaser),
		run: func(e *env) {
			k := e.key("k")
			e.acquire(k, hour)
			_, err := e.caps.TTLer.GetTTL(e.ctx, k)
			e.is(err, backends.ErrLeased, "getttl of a leased key")
			e.is(e.caps.TTLer.GetTTLMany(e.ctx, []string{k})[0].Err, backends.ErrLeased, "getttlmany of a leased key")
		},
	},
}
