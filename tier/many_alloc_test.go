package tier

import (
	"context"
	"fmt"
	"runtime"
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

// What GetMany allocates by itself, beside the store and the codec, does not grow with the keys: the
// map that it returns, the keys as the store knows them, and two contexts. The flights, the entries
// and the rest are those of the batch before.
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
	if raceEnabled {
		return
	}
	read := func() {
		if m, err := c.GetMany(context.Background(), keys); err != nil || len(m) != n {
			t.Fatal(len(m), err)
		}
	}
	if got := testing.AllocsPerRun(50, read); got > 26 {
		t.Errorf("%v allocations for %d keys, want 26 at most", got, n)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50 {
		read()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 50 / n; got > 150 {
		t.Errorf("%d bytes a key, want 150 at most: its place in the map and its name in the store", got)
	}
}
