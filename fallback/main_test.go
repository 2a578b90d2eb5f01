package fallback

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Most of what runs in parallel here waits for lifetimes to end, not for a processor.
	_ = flag.Set("test.parallel", "24")
	goleak.VerifyTestMain(m)
}
