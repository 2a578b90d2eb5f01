//go:build !linux

package servers

// awaitFrozen trusts the signal.
func awaitFrozen(int) error { return nil }
