package checker_test

import (
	"fmt"

	"github.com/hearthcache/hearth/internal/checker"
)

func Example() {
	h := checker.New(1)

	cached := h.Current(0) // a cache was filled
	id := h.Write(0)       // the source changes
	h.Complete(0, id)      // and the cache forgets to forget

	r := h.Begin(0)
	fmt.Println(r.End(cached))
	// Output: stale
}
