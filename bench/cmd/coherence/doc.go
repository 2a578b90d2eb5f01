// Command coherence measures how long an L1 in one process serves a value after another process
// has replaced it.
//
//	go run ./cmd/coherence [-quick] [-json]
//
// Four processes, each a cache with an L1 whose values live ten minutes, read 48 keys over one
// Redis, over a Redis Cluster of three masters, and over memcached with a bus of messages. Two of
// them also write, and so does a client that knows nothing of hearth (not over memcached, where
// nobody would be told). Each is then disturbed: the connections on which the processes hear of
// changes are reset every second, and swallowed by a black hole until the link has been given up
// and some time beyond, and given back.
//
// # What counts as stale
//
// The source of record is a table of versions in memory that all processes share. A writer
// commits a version, changes the cache, and notes when that call had returned. A reader takes
// the time first and reads then: if a version newer than the one it got had been noted before
// that time, the read is stale by the difference. A reader that loses the processor between the
// two is none the worse for it.
//
// On a busy machine nothing arrives in time, whatever program listens. A control goes the same
// way as the news, without hearth: a bare message every 5 ms through each server and a proxy to a
// goroutine in each process. While one is more than 20 ms late, the time is taken off; what was
// measured without that is printed beside it as uncorrected.
//
// # What must come out
//
// Not one read may be stale by more than 50 ms while the link is healthy or reset, nor after the
// black hole has gone. In the black hole staleness is bounded by dead-after plus ping. The exit
// status is 1 if any of this does not hold. A reader that ignores the news (-deaf) fails it,
// which shows that the measurement can.
package main
