package ristretto_test

import (
	"fmt"
	"log"
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/clock"
)

type user struct{ Name string }

func Example() {
	clk := clock.New()
	defer clk.Stop()
	users, err := ristretto.New[user](ristretto.Config{MaxCost: 16 << 20, Clock: clk})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	// A read that misses: stamp first, then ask the remote tier, then fill.
	st := users.Stamp("user:1")
	ann := &user{Name: "Ann"} // from the remote tier
	soft, hard := clk.Now()+int64(time.Minute), clk.Now()+int64(time.Hour)
	fmt.Println("filled:", users.Put("user:1", st, ann, 64, soft, hard))
	u, state := users.Get("user:1")
	fmt.Println(u.Name, state == ristretto.Fresh)

	// Another read is under way while the user changes: its fill comes too late.
	st = users.Stamp("user:1")
	users.Invalidate("user:1")
	fmt.Println("filled:", users.Put("user:1", st, ann, 64, soft, hard))
	_, state = users.Get("user:1")
	fmt.Println("miss:", state == ristretto.Miss)

	// Output:
	// filled: true
	// Ann true
	// filled: false
	// miss: true
}
