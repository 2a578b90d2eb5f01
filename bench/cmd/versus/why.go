package main

import (
	"fmt"
	"strings"
)

// reasons says of rows that miss their goal why that is, by what their names contain; the first that
// fits counts. They are about what the two sides do, not about one run.
var reasons = []struct{ section, part, why string }{
	{"l1", "allocations", "a hit must not allocate: this is a fault"},
	{"l1", "Zipf", "a hundred thousand keys do not fit the processor's own caches, so most of a hit is waiting for three or " +
		"four lines of memory (bucket, entry, key), which every cache that compares keys waits for as well; ristretto " +
		"compares hashes and saves the key's. Whoever shares the memory with this machine moves the ratio. The hot set shows the work alone"},
	{"l1", "otter with TTL", "what hearth saves here is the peer's look at the system's clock, and that is cheap on some machines: " +
		"tens of nanoseconds, where the goal was set with 64. The rest, hashing and finding, both have to do"},
	{"l1", "", "what hearth saves here is the peer's allocation, clock and second lock, a fixed number of nanoseconds; where the " +
		"processor does them quickly, less is left to save"},
	{"redis", "1 callers", "a lone caller sends by itself, through one lock of 50 ns in a trip of more than 10 us; the rest is noise of the two processors"},
	{"redis", "256 callers: go-redis AutoPipeline", "client and server share the processors, and both sides wake 256 callers for each round of answers; " +
		"go-redis makes an interface and a string of every key and value of an MGET, which a connection of our own would save, and the store is on go-redis"},
	{"redis", "0.5 ms", "the proxy that delays shares the processors with the clients and the server, and takes them in turns; " +
		"with several clients measured at a load above the number of processors this row scatters most"},
	{"redis", "", "client and server share the processors; at a load above their number the order in which threads run decides"},
	{"memcached", "p99", "the slowest percent is that of the scheduler when the callers outnumber the processors, and the peer's own is sometimes short"},
	{"memcached", "", "the server looks up key by key in a meta pipeline, and it shares the processors with the client"},
	{"bulk", "", "hearth's values carry a frame with lifetimes and a checksum, which it verifies, and each is offered to the cache's book-keeping; " +
		"the peer decodes bare JSON"},
	{"burst", "", "the goroutine that tells ristretto needs a processor while the writer has another; with none free, the writer pays for both"},
	{"memory", "", "beside its entry, hearth keeps what ristretto keeps for judging it"},
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
