package talktest

import (
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// Main runs the tests of a package and looks for goroutines that are left over.
func Main(m *testing.M) {
	logging.Disable() // these tests kill servers on purpose
	code := m.Run()
	// The client of a server that is gone tries it once a second until it is closed, and then for
	// the rest of that second.
	dials := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	if err := goleak.Find(dials); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
