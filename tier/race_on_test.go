//go:build race

package tier

// raceEnabled: the race detector makes everything some ten times slower.
const raceEnabled = true
