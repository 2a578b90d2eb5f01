//go:build !unix

package servers

import "os"

// freezeSignal reports that this system cannot freeze a process by a signal.
func freezeSignal(bool) (os.Signal, bool) { return nil, false }
