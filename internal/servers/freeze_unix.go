//go:build unix

package servers

import (
	"os"
	"syscall"
)

// freezeSignal returns the signal that freezes a process or lets it go on.
func freezeSignal(on bool) (os.Signal, bool) {
	if on {
		return syscall.SIGSTOP, true
	}
	return syscall.SIGCONT, true
}
