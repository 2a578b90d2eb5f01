// Command coherence measures how long an L1 in one process serves a value after another process
// has replaced it.
//
//	go run ./cmd/coherence [-quick] [-json] [-only redis]
//
// Four processes, each a cache with an L1 whose values live ten minutes, read 48 keys over one
// Redis, over a Redis Cluster of three masters, and over memcached with a bus of messages. Two of
// them also write, and so does a client that knows nothing of hearth (not over memcached, where
// nobody would be told). Each is then disturbed: the connections on which the processes hear of
// changes are reset every second, and swallowed by a black hole until the link has been given up
// and some time beyond, and given back. Over memcached only the processes that do not write are
// disturbed: a writer whose bus is disturbed cannot tell anybody what it changed, so that others
// would be stale for as long as that lasts, whatever they do. What is measured there is how the
// readers' ends of the links fail.
//
// Then things happen to the servers while all go on: a Redis is killed and comes back empty after a
// second (restart); a master is killed, a Sentinel makes its replica the master, and the old one
// comes back at once (sentinel); slots with their keys move from one master of a cluster to another
// and to one that had none (slot-move); and a master of that cluster is killed and its replica takes
// over (cluster-kill). Each has a time before and a time after it, "_before" and "_recovered".
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
// measured without that is printed beside it as uncorrected. Where servers are killed the control
// goes through one that is not.
//
// A replica that takes over may not have heard of the last writes. Then the cluster or the Sentinel
// has lost them, and no L1 is to blame. So a reader that gets a stale value there asks the servers
// themselves, without an L1 and without a loader. If they have nothing newer, the read counts as
// "lost by Redis" and not as stale. If they have, and the last write of the key had returned before
// the read began, it is stale; if the key is being written just then, it is counted as undecided
// (JSON: lost_by_redis, undecided). Where nothing is killed yet, no read may count as either.
//
// # What must come out
//
// Not one read may be stale by more than 50 ms while the link is healthy or reset, nor after the
// black hole has gone, nor while slots move, nor before and after an event. In the black hole, and
// while servers are killed and replaced, staleness is bounded by dead-after plus ping, every process
// must have seen its link down, and it must come up by itself. While the links are up, L1 must have
// answered a tenth of the reads at least, or nothing was shown of it. The exit status is 1 if any of
// this does not hold. A reader that ignores the news (-deaf) fails it, which shows that the
// measurement can.
package main
