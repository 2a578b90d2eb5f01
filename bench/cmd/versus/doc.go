// Versus measures hearth beside the caches and clients that it builds on or competes with, on this
// machine, with servers of its own:
//
//	go -C bench run ./cmd/versus                  # everything, some minutes
//	go -C bench run ./cmd/versus -section redis   # one section
//	go -C bench run ./cmd/versus -quick           # everything, under a minute, noisy
//	go -C bench run ./cmd/versus -json            # the last line is for programs
//
// Variants are interleaved round by round, and compared by the least disturbed round of each (the
// tables have medians too), so that what else the machine does matters little. Absolute figures
// mean nothing. Differences below a quarter are ties on a busy machine: see the guards.
//
// With -doc, the results are written as a page with a chart.
//
// How the peers are configured is said beside each of them: as their authors would, with room for
// all keys.
package main
