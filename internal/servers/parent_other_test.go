//go:build !linux

package servers_test

// Children die with their parent on Linux alone, and the test of it runs there.
const actAsParent = "HEARTH_TEST_PARENT"

func parent(string) {}
