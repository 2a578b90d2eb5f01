package tier

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/fence"
)

// A reader that comes to a flight which has read the tier before another process changed the key
// gets what there is now: in the process of the change it would not have joined.
func TestGet_ReaderWhoJoinsALateFlightLooksAgain(t *testing.T) {
	run := func(t *testing.T, many bool) (got string) {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			shared := memory.New(memory.Config{})
			slow := backendtest.NewFaulty(shared, 1)
			cfg := over(nil, slow)
			cfg.Local.Disabled = true
			late := open(t, cfg)
			cfg.Remotes = []Remote{{Name: "a", Store: shared}}
			other := open(t, cfg)
			if err := other.Set(ctx, "k", "old"); err != nil {
				t.Fatal(err)
			}
			gate := make(chan struct{})
			slow.After(func(op backendtest.Op, _ string) { // the answer is on its way
				if op == backendtest.OpGet || op == backendtest.OpGetMany {
					<-gate
				}
			})
			var wg sync.WaitGroup
			read := func() (string, error) {
				if many {
					m, err := late.GetMany(ctx, []string{"k"})
					return m["k"], err
				}
				return late.Get(ctx, "k")
			}
			wg.Go(func() { _, _ = read() })
			synctest.Wait()
			if err := other.Set(ctx, "k", "new"); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				var err error
				if got, err = read(); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			close(gate)
			wg.Wait()
		})
		return got
	}
	for _, many := range []bool{false, true} {
		if got := run(t, many); got != "new" {
			t.Errorf("GetMany %v: a reader that came after the change got %q", many, got)
		}
	}
	defer fence.Remove(fence.Flight)()
	for _, many := range []bool{false, true} {
		if got := run(t, many); got != "old" {
			t.Errorf("GetMany %v: without the second look the reader got %q; the test cannot see what it is for", many, got)
		}
	}
}
