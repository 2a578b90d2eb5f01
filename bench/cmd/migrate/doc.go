// Command migrate looks for stale reads while a cache moves from one server to another: four
// processes read and write through caches over a fallback, from memcached to Redis and from
// Redis to memcached, while the phases of the migration go up and down and their connections to
// both servers are reset, refused and swallowed. Every single read is held against an exact
// checker.
//
//	go -C bench run ./cmd/migrate [-json] [-quick] [-scenario NAME]
//
// The scenarios:
//
//   - fleet: the phases come from a fleet record, so neighbouring phases are in force side by
//     side while it advances. Each process has connections of its own to each server, which
//     fail at other times than those of the others. A memcached is killed and comes back empty.
//     A foreign client writes plain values into the store that is the authority.
//   - mixed: processes stay in different, neighbouring phases.
//   - cut: all processes read both stores, and one of them cannot reach the old one.
//   - own: every process has keys of its own, and no record: it goes back to the old store, writes
//     while the new one is away, and returns to that before all of it was told.
//
// Each runs with all rules in force, when no read may be stale, and the last three again without
// the rule that they are about, when stale reads must show: a hammer that cannot see them proves
// nothing. A read is stale if it returns a value older than that of the newest write that was
// complete before the read began; see package internal/checker. L1 is off, since L1 of other
// processes may lag behind.
//
// What the hammer respects, since no cache can do without (docs/migration.md says why):
//
//   - Foreign writers pause while the authority changes, and what they write is invalidated
//     through the cache before and after: they do not tell the other store, which a phase that
//     goes back, or a new server that fails, would bring to light.
//   - The new server is not killed while the old one is owed an invalidation: the mark that
//     keeps other processes from reading there is in new's memory.
//
// The last line is JSON. "reads" and "stale_hits" are with all rules in force, "removed" has the
// stale reads seen without each rule. "peak_source_load_ratio" is the highest share of loads to
// writes in the fleet scenario, in proportion to that of the busier server alone (taken in PhaseOld
// and in PhaseRetire before anything was disturbed), over "load_windows" windows of 1000 writes
// each, so that chance is some 3 %. Only time counts in which both servers had been well for a
// second and had answered every process in time, nothing was owed, and every process had its turn.
// On a machine so busy that there were fewer writes before, windows are of as many
// ("load_window_writes"), and chance is more; without a window, and with -quick, the ratio is 0 and
// says nothing.
//
// The exit code is 1 if a read was stale with all rules in force, or none without one of them, in
// either direction; if the load was more than 1.2 times the usual, chance added; if a server
// was a stand-in; and, unless -quick or -scenario ask for less, if there were fewer than a million
// reads, or no window.
package main
