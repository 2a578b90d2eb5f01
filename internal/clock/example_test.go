package clock_test

import (
	"fmt"
	"time"

	"github.com/hearthcache/hearth/internal/clock"
)

func ExampleNewFake() {
	f := clock.NewFake(time.Unix(0, 0))
	deadline := f.Now() + int64(time.Minute)
	fmt.Println(f.Now() >= deadline)
	f.Advance(time.Minute)
	fmt.Println(f.Now() >= deadline)
	// Output:
	// false
	// true
}
