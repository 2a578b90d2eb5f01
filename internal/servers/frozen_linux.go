package servers

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// awaitFrozen waits until every thread of the process has stopped: the signal is sent to one of
// them, and on a busy machine the others go on answering for a while.
func awaitFrozen(pid int) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if frozen(pid) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("servers: process %d does not stop", pid)
		}
	}
}

// frozen reports whether all threads are in state T (or gone).
func frozen(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		// The name before the state is in parentheses and may hold anything.
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' && stat[i+2] != 'Z' {
			return false
		}
	}
	return true
}
