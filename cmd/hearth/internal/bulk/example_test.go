package bulk_test

import (
	"context"
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
	"github.com/hearthcache/hearth/internal/servers"
)

// Two runs of one copy: the second finds that the target has everything.
func ExampleCopy() {
	ctx := context.Background()
	old, err := servers.StartRedis(servers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer old.Close()
	fresh, err := servers.StartRedis(servers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer fresh.Close()

	from, err := bulk.Open("redis://"+old.Addr()+"/0", bulk.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer from.Close()
	to, err := bulk.Open("redis://"+fresh.Addr()+"/0", bulk.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer to.Close()
	for _, name := range []string{"a", "b"} { // something to copy
		store, closeStore, err := bulk.OpenStore("redis://" + old.Addr() + "/0")
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := store.Set(ctx, name, backends.Item{Value: []byte(name)}); err != nil {
			fmt.Println(err)
		}
		closeStore()
	}

	for range 2 {
		report, err := bulk.Copy(ctx, bulk.Job{From: from, To: to})
		fmt.Println(report.Fates[bulk.Copied], "copied, skipped:", report.Skipped(), err)
	}
	// Output:
	// 2 copied, skipped: map[] <nil>
	// 0 copied, skipped: map[exists:2] <nil>
}
