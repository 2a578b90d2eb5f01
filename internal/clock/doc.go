// Package clock tells the time for about a nanosecond a question.
//
// A cache hit compares one deadline with now. time.Now costs 36 to 64 ns, more than the rest of
// the hit; a [Clock] answers with one atomic load of a value that a goroutine renews every
// [Tick]. The price is age: what [Clock.Now] returns is up to one Tick old, plus however long
// the scheduler takes to run that goroutine when its time has come. On an idle machine that is
// microseconds, with all processors busy some milliseconds. After the whole process was stopped
// (SIGSTOP, a migrated virtual machine) the first readers can still be given the value from
// before the stop, until the goroutine has had its turn. So:
//
//   - freshness of cached values: Now;
//   - leases, watchdogs, anything that must notice a pause: [Clock.Precise];
//   - time stamps that other processes read: [Clock.Wall].
//
// Values of Now never go backwards and are never ahead of Precise. All are counted from the
// clock's creation by the system's monotonic clock, so a changed wall clock does not touch
// them; time during which the machine itself was suspended does not count on Linux.
//
// The goroutine exists only while somebody reads. Every 64 ticks it marks the value as stale;
// the first reader after that reads the real time and so shows that there are readers. A stale
// mark that outlives a tick ends the goroutine, and the next reader starts it again. An idle
// process has no wake-ups, and a bubble of testing/synctest with a clock in it becomes idle.
//
// In such a bubble the clock must be made inside, and a test that has slept says synctest.Wait
// before it expects Now to have moved: of two that wake at the same instant, the test may be
// first.
package clock
