package tier

import (
	"context"
	"fmt"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

// prepared answers GetMany with results made before.
type prepared struct {
	*memory.Store
	results []backends.Result
}

func (p *prepared) GetMany(_ context.Context, keys []string) []backends.Result {
	return p.results[:len(keys)]
}

// What GetMany allocates by itself, beside the store and the codec, does not grow with the keys:
// the flights, the entries and the keys are one allocation each. (With an L1 an entry is its own,
// since L1 keeps it.)
func TestAllocations_GetManyHasNoneAKey(t *testing.T) {
	const n = 100
	store := &prepared{Store: memory.New(memory.Config{})}
	cfg := Config[[]byte]{Namespace: "t", Jitter: -1, Load: Load{EarlyBeta: -1}, Remotes: []Remote{{Name: "a", Store: store}}}
	cfg.Local.Disabled = true
	c := open(t, cfg)
	keys, all, full := make([]string, n), map[string][]byte{}, make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("key:", i)
		full[i] = "t:" + keys[i]
		all[keys[i]] = []byte("value")
	}
	if err := c.SetMany(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	store.results = store.Store.GetMany(context.Background(), full)
	got := testing.AllocsPerRun(50, func() {
		if m, err := c.GetMany(context.Background(), keys); err != nil || len(m) != n {
			t.Fatal(len(m), err)
		}
	})
	if got > n/2 {
		t.Errorf("%v allocations for %d keys, want less than one for two of them", got, n)
	}
}
