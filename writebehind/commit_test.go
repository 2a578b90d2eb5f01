package writebehind_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

func TestJournal_CallersShareOneCommitAndNotEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const half, each = 32, 20
		j := journaltest.NewMemory()
		j.BeforeCommit = func(*writebehind.Tx) error { time.Sleep(time.Millisecond); return nil }
		w := newWriter(t, writebehind.Config[string]{Sink: newSource(), Journal: j, Linger: time.Hour, MaxDelay: time.Hour})
		defer closeNow(t, w)
		var wg sync.WaitGroup
		crowd := func(name string) {
			for i := range half {
				wg.Go(func() {
					for range each {
						if err := w.Write(t.Context(), []tier.Mutation[string]{{Key: fmt.Sprint(name, i), Value: "v"}}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		crowd("a")
		time.Sleep(1100 * time.Microsecond) // one of them is through, and the others are at the journal
		crowd("b")                          // who would take turns with the first half for ever
		wg.Wait()
		if n := w.Stats().Commits; n > 34 { // 64 each time would be 20, 32 each time are 40
			t.Errorf("%d writes of each of 64 callers took %d commits: two halves take turns", each, n)
		}
	})
}
