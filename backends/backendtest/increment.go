package backendtest

import (
	"strconv"
	"strings"

	"github.com/hearthcache/hearth/backends"
)

// counts wants Increment to answer with want.
func (e *env) counts(key string, delta, initial, want int64) {
	e.Helper()
	got, err := e.caps.Incrementer.Increment(e.ctx, key, delta, initial, 0)
	if err != nil || got != want {
		e.Fatalf("increment by %d (initial %d): got %d, %v; want %d", delta, initial, got, err, want)
	}
}

var incrementCases = []Case{
	{
		Name:  "increment/AbsentStartsAtInitial",
		Why:   "delta added to the initial value counts the first event twice",
		needs: needIncr,
		run: func(e *env) {
			k := e.key("k")
			e.counts(k, 5, 100, 100)
			e.counts(k, 5, 100, 105)
			e.counts(k, 0, 100, 105)
			e.counts(k, -10, 100, 95)
		},
	},
	{
		Name:  "increment/CounterIsPlainDecimal",
		Why:   "other clients read it, and write it",
		needs: needIncr,
		run: func(e *env) {
			k := e.key("k")
			e.counts(k, 1, 9, 9)
			e.counts(k, 1, 0, 10)
			e.counts(k, -1, 0, 9)
			// memcached pads a counter that lost a digit with blanks.
			if v := strings.TrimRight(string(e.get(k).Value), " "); v != "9" {
				e.Errorf("get of a counter: %q, want \"9\"", v)
			}
			e.set(k, "41")
			e.counts(k, 1, 0, 42)
		},
	},
	{
		Name:  "increment/BelowZero",
		Why:   "a counter that wraps to 18446744073709551615 ends a sale",
		needs: needIncr,
		run: func(e *env) {
			k := e.key("k")
			e.counts(k, 1, 3, 3)
			want := int64(-2)
			if e.caps.Unsigned {
				want = 0
			}
			e.counts(k, -5, 0, want)
			e.counts(k, 1, 0, want+1)
		},
	},
	{
		Name:  "increment/BigNumbers",
		Why:   "a counter kept as floating point stops counting at 2^53",
		needs: needIncr,
		run: func(e *env) {
			k := e.key("k")
			big := int64(1)<<53 + 1
			e.counts(k, 1, big, big)
			e.counts(k, 1, 0, big+1)
			e.counts(k, 1<<60, 0, big+1+1<<60)
			if v := string(e.get(k).Value); v != strconv.FormatInt(big+1+1<<60, 10) {
				e.Errorf("get of a counter: %q", v)
			}
		},
	},
	{
		Name:  "increment/NotANumber",
		Why:   "a record taken for a counter must be left alone",
		needs: needIncr,
		run: func(e *env) {
			for name, v := range map[string]string{"word": "many", "frame": string(versioned(1, "x").Value), "float": "1.5"} {
				k := e.key(name)
				e.set(k, v)
				_, err := e.caps.Incrementer.Increment(e.ctx, k, 1, 0, 0)
				e.is(err, backends.ErrNotNumber, "increment of "+name)
				e.holds(k, v)
			}
		},
	},
	{
		Name:  "increment/TTLIsOfTheFirst",
		Why:   "a rate limit whose window moves with every event never opens again",
		needs: needIncr,
		waits: true,
		run: func(e *env) {
			k, forever := "", e.key("forever")
			for try, n := 0, int64(0); n != 2; try++ { // a starved machine may come to the second when the first is over
				if try == 10 {
					e.Fatalf("ten counters in a row began anew within %v: the second increment returned %d, want 2", e.unit, n)
				}
				k = e.key("k" + strconv.Itoa(try))
				_, err := e.caps.Incrementer.Increment(e.ctx, k, 1, 1, e.unit)
				e.ok(err, "increment")
				n, err = e.caps.Incrementer.Increment(e.ctx, k, 1, 1, hour)
				e.ok(err, "increment")
			}
			e.counts(forever, 1, 1, 1)
			_, err := e.caps.Incrementer.Increment(e.ctx, forever, 1, 1, e.unit)
			e.ok(err, "increment")
			e.outlive(e.unit)
			e.missing(k)
			e.holds(forever, "2")
		},
	},
	{
		Name:  "increment/RefusalsChangeNothing",
		Why:   "a refusal is before the wire",
		needs: needIncr,
		run: func(e *env) {
			k := e.key("k")
			_, err := e.caps.Incrementer.Increment(e.ctx, k, 1, 1, -1)
			e.is(err, backends.ErrInvalidTTL, "increment")
			_, err = e.caps.Incrementer.Increment(e.ctx, "", 1, 1, 0)
			e.is(err, backends.ErrEmptyKey, "increment")
			e.absent(k)
		},
	},
}
