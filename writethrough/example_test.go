package writethrough_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

// A source of record takes what the cache is given, and may refuse it.
func Example() {
	table := map[string]int{} // the database
	w, err := writethrough.New(writethrough.Config[int]{
		Sink: writethrough.SinkFunc[int](func(_ context.Context, ms []tier.Mutation[int]) error {
			for _, m := range ms {
				if m.Value < 0 {
					return writethrough.Refused(errors.New("stock below zero"))
				}
				table[m.Key] = m.Value
			}
			return nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	stock, err := tier.New(tier.Config[int]{Writer: w})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer stock.Close(ctx)

	fmt.Println(stock.Set(ctx, "apples", 3), table["apples"])
	err = stock.Set(ctx, "apples", -1)
	fmt.Println(errors.Is(err, writethrough.ErrRefused), table["apples"])
	// Output:
	// <nil> 3
	// true 3
}
