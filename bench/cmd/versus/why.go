package main

import (
	"fmt"
	"strings"
)

// reasons says of rows that miss their goal what was measured about that, by what their names contain;
// the first that fits counts. Where nothing was measured nothing is said.
var reasons = []struct{ section, part, why string }{
	{"l1", "allocations", "a hit must not allocate: this is a fault"},
	{"l1", "Zipf", "over a hundred thousand keys a hit takes two to three times what it takes on the hot set, for hearth and for the " +
		"peers (bare ristretto 160 ns against 64 where the goal was set), and only the rest differs between them. The hot set's rows show that"},
	{"l1", "otter with TTL", "where the goal was set, a look at the system's clock took 36 to 64 ns, and otter with a TTL 1.6 times " +
		"what it takes without; hearth saves that look, which costs less on other machines"},
	{"redis", "1 callers", "what a lone caller passes in front of the driver took 52 ns over a store that does nothing, 0.4 % of a trip; " +
		"repeated runs gave 0.96 to 1.00"},
	{"redis", "256 callers: go-redis AutoPipeline", "measured beside it: replies read raw, past go-redis's own strings and interfaces, " +
		"took 1.3 allocations a call instead of 3.3 and no less time; batches of 90 keys instead of 67 (a Step of 64) took 3 % less time here, " +
		"and 50 % more with 64 callers and a delay of 0.5 ms; the same batching on a bare connection, a prototype, was 1.2 times as fast, " +
		"and the store is on go-redis"},
	{"redis", "0.5 ms", "the same code as two peers of one run has differed by up to 20 % behind the delay"},
	{"redis", "", "no cause was found; the same code as two peers of one run has differed by up to 7 %, which explains no larger miss"},
	{"memcached", "p99", "the same code as two peers of one run has had 2.1 and 4.1 ms"},
	{"memcached", "1 callers", "the bare client beside itself, 15 rounds, twice gave 0.96 to 1.05; the store alone gave 0.99 of it, coalesced 0.99 to 1.01"},
	{"memcached", "64 callers: on our connection", "the same code as two peers of one run has differed by 3 %, which explains no larger miss"},
	{"bulk", "decoded", "a profile gave JSON 46 %, go-redis 31 % and all of hearth 23 %. Per hundred keys, 287 us against 246: of the 41, " +
		"decoding in frames took 10 to 15, the store 5 to 9 over a bare MGET of the same frames, flights, keys and the rest about 15. L1 is off here"},
	{"burst", "", "bare ristretto's one goroutine took in 0.4 to 0.6 million sets a second where the goal was set, and refused the others; otter took 1.1"},
	{"memory", "", "with 200,000 entries a tier.Cache took 303 B each, ristretto 263, and 287 with a TTL: an entry has 24 B of lifetimes and flags beside its " +
		"value, and 73 B of it are ristretto's own map"},
}

// why explains a ratio that misses its goal.
func (l limit) why(section, name string, ratio float64) string {
	text := fmt.Sprintf("not reached: %.2f, the goal is %s %g", ratio, l.bound, l.goal)
	for _, r := range reasons {
		if r.section == section && strings.Contains(name, r.part) {
			return text + "; " + r.why
		}
	}
	return text
}
