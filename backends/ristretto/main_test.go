package ristretto

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTest(t testing.TB, cfg Config) *Cache[int] {
	t.Helper()
	c, err := New[int](cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func ptr(i int) *int { return &i }

func fill(c *Cache[int], key string, v int) bool { return c.Put(key, c.Stamp(key), ptr(v), 8, 0, 0) }

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// want checks what Get says; v is not compared for a miss.
func want(t fataler, c *Cache[int], key string, state State, v int) {
	t.Helper()
	got, s := c.Get(key)
	switch {
	case s != state:
		t.Fatalf("Get(%s): state %d, want %d", key, s, state)
	case s == Miss && got != nil:
		t.Fatalf("Get(%s): a miss with a value", key)
	case s != Miss && *got != v:
		t.Fatalf("Get(%s) = %d, want %d", key, *got, v)
	}
}

// agree checks that ristretto and the index know the same entries, at the same cost: what the one
// has lost must not take room in the other for ever.
func agree(t testing.TB, c *Cache[int]) {
	t.Helper()
	c.Wait()
	inPolicy := c.policy.MaxCost() - c.policy.RemainingCost()
	if inIndex := c.cost.Load(); inPolicy != inIndex {
		t.Errorf("ristretto counts %d bytes, the index %d", inPolicy, inIndex)
	}
	var sum, count int64
	for i := range c.shards {
		s := &c.shards[i]
		for j := range s.table.Load().buckets {
			s.table.Load().buckets[j].each(func(n *node[int], _ place[int]) {
				sum += n.meta.cost()
				count++
			})
		}
	}
	if st := c.Stats(); sum != st.Cost || count != st.Entries || st.Pending != 0 {
		t.Errorf("entries %d of %d bytes, but %+v", count, sum, st)
	}
}
