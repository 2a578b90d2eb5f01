// Versus measures hearth beside the caches and clients that it builds on or competes with, on this
// machine, with servers of its own:
//
//	go -C bench run ./cmd/versus                  # everything, some minutes
//	go -C bench run ./cmd/versus -section redis   # one section
//	go -C bench run ./cmd/versus -quick           # everything, under a minute, noisy
//	go -C bench run ./cmd/versus -json            # standard output is for programs alone
//	go -C bench run ./cmd/versus -quick -check    # exit 1 beyond a guard
//
// Variants are interleaved round by round, and compared by the median of the ratios of neighbouring
// rounds, so that what else the machine does matters little. Absolute figures
// mean nothing. Differences below a quarter are ties on a busy machine: see the guards.
//
// -check measures a section that has rows beyond their guard again, up to twice; a row passes if it
// is within its guard once. Known misses that have a reason have a limit of their own. -quick has
// fewer rounds where the machine is too slow for its time, and says so; repetitions come on top.
//
// With -doc, the results are written as a page with a chart.
//
// How the peers are configured is said beside each of them: as their authors would, with room for
// all keys.
package main
