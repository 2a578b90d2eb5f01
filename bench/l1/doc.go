// Package l1 measures the local tier beside ristretto and otter: hits on a Zipf mix of 100,000 keys
// and on a hot thousand, bursts of a million unpaced puts, and memory per entry. The keys looked up
// are copies of those that were put, as they are in a service.
//
// ristretto is configured as its authors advise (ten counters an entry, 64 buffered items), otter
// with a maximum size; "-ttl" gives every entry an expiry, which is what an SDK has to do: compare
// hearth, which checks two deadlines and a generation on every hit, with those.
package l1
