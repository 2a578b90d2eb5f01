package tier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// readers are the two ways to read one key.
var readers = map[string]func(ctx context.Context, c *Cache[string], key string) (string, error){
	"Get": func(ctx context.Context, c *Cache[string], key string) (string, error) { return c.Get(ctx, key) },
	"GetMany": func(ctx context.Context, c *Cache[string], key string) (string, error) {
		m, err := c.GetMany(ctx, []string{key})
		if v, ok := m[key]; ok || err != nil {
			return v, err
		}
		return "", ErrMiss
	},
}

// A reader who could be given a stale value waits for the refresh until the soft timeout, wherever
// the value is and however it is read.
func TestGetMany_SoftTimeoutIsTheSameAsForGet(t *testing.T) {
	for name, get := range readers {
		for _, near := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", L1 ", near), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var delay, n atomic.Int64
					cfg := over(nil, newProbe())
					cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
						time.Sleep(time.Duration(delay.Load()))
						return fmt.Sprint(n.Add(1)), nil
					})
					cfg.Fresh, cfg.TTL, cfg.Local.TTL, cfg.Load.SoftTimeout = time.Second, time.Hour, time.Hour, 20*time.Millisecond
					cfg.Local.Disabled = !near
					c := open(t, cfg)
					v, err := get(t.Context(), c, "k")
					want(t, v, err, "1")
					time.Sleep(2 * time.Second)
					delay.Store(int64(10 * time.Millisecond))
					v, err = get(t.Context(), c, "k")
					want(t, v, err, "2") // quick enough
					time.Sleep(2 * time.Second)
					delay.Store(int64(time.Second))
					start := time.Now()
					v, err = get(t.Context(), c, "k")
					want(t, v, err, "2")
					if d := time.Since(start); d != 20*time.Millisecond {
						t.Errorf("waited %v, want 20ms", d)
					}
					time.Sleep(1500 * time.Millisecond)
					v, err = lookup(t.Context(), c, "k")
					want(t, v, err, "3") // it went on behind
				})
			})
		}
	}
}

func TestGetMany_SoftTimeoutIsOneForAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		cfg := over(nil, newProbe())
		cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
			time.Sleep(time.Duration(delay.Load()))
			return "v", nil
		})
		cfg.Fresh, cfg.TTL, cfg.Local.TTL, cfg.Load.SoftTimeout = time.Second, time.Hour, time.Hour, 20*time.Millisecond
		c := open(t, cfg)
		keys := make([]string, 20)
		for i := range keys {
			keys[i] = fmt.Sprint(i)
		}
		if _, err := c.GetMany(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		delay.Store(int64(time.Second))
		start := time.Now()
		m, err := c.GetMany(t.Context(), append(keys, keys...))
		if d := time.Since(start); err != nil || len(m) != len(keys) || d != 20*time.Millisecond {
			t.Errorf("%d values, %v, after %v; want %d after 20ms", len(m), err, d, len(keys))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err = c.GetMany(ctx, keys[:1])
		wantErr(t, err, context.DeadlineExceeded) // the caller's own end comes first
		time.Sleep(2 * time.Second)               // the loads behind end
	})
}

func TestGetMany_FailedLoadIsRememberedForErrorTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &manySource{source: newSource("a", "1", "b", "2")}
		src.fail(errDown)
		cfg := over(src.source, newProbe())
		cfg.Loader, cfg.Load.ErrorTTL = src, time.Second
		c := open(t, cfg)
		for range 3 {
			_, err := c.GetMany(t.Context(), []string{"a", "b"})
			wantErr(t, err, errDown)
			_, err = c.Get(t.Context(), "a")
			wantErr(t, err, errDown)
		}
		if len(src.batches) != 1 || src.count() != 0 {
			t.Errorf("loaded %v and %d single, want one batch", src.batches, src.count())
		}
		src.fail(nil)
		src.set("c", "3")
		m, err := c.GetMany(t.Context(), []string{"a", "c"})
		wantErr(t, err, errDown) // a's error stands; c is loaded
		if m["c"] != "3" {
			t.Errorf("got %v", m)
		}
		time.Sleep(time.Second)
		m, err = c.GetMany(t.Context(), []string{"a", "b"})
		if err != nil || m["a"] != "1" || m["b"] != "2" {
			t.Errorf("got %v, %v", m, err)
		}
	})
}

func TestGetMany_PanickingHookEndsItsFlights(t *testing.T) {
	for _, from := range []string{"tier", "loader", "single loader"} {
		p := newProbe()
		cfg := over(newSource("a", "1", "b", "2"), p)
		if from == "loader" {
			cfg.Loader = &manySource{source: newSource("a", "1", "b", "2")}
		}
		if from == "tier" {
			if err := open(t, cfg).SetMany(t.Context(), map[string]string{"a": "1", "b": "2"}); err != nil {
				t.Fatal(err)
			}
		}
		var calm atomic.Bool
		cfg.Local.Cost = func(string) int64 {
			if !calm.Load() {
				panic("boom")
			}
			return 1
		}
		c := open(t, cfg)
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			_, err := c.GetMany(ctx, []string{"a", "b"})
			var many *ManyError
			var boom *PanicError
			if !errors.As(err, &many) || len(many.Errs) == 0 || !errors.As(err, &boom) {
				t.Fatalf("from the %s: got %v", from, err)
			}
			if n := c.loads.Len(); n != 0 {
				t.Fatalf("from the %s: %d flights will never end", from, n)
			}
			if err := c.Invalidate(ctx, "a", "b"); from != "tier" && err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A process that finds the leases of a whole batch taken asks for all of them at once.
func TestGetMany_WaitsForAnotherProcessInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		var loads atomic.Int32
		keys := make([]string, 50)
		for i := range keys {
			keys[i] = fmt.Sprint(i)
		}
		load := func(_ context.Context, keys []string) (map[string]string, error) {
			loads.Add(1)
			time.Sleep(time.Second)
			m := make(map[string]string)
			for _, k := range keys {
				m[k] = "v" + k
			}
			return m, nil
		}
		one, two := open(t, over(nil, p)), open(t, over(nil, p))
		var wg sync.WaitGroup
		wg.Go(func() {
			if m, err := one.GetOrLoadMany(t.Context(), keys, load); err != nil || len(m) != len(keys) {
				t.Errorf("got %d values, %v", len(m), err)
			}
		})
		synctest.Wait()
		start := time.Now()
		m, err := two.GetOrLoadMany(t.Context(), keys, load)
		if err != nil || len(m) != len(keys) || m["7"] != "v7" {
			t.Errorf("got %d values, %v", len(m), err)
		}
		if d := time.Since(start); d > 1100*time.Millisecond {
			t.Errorf("waited %v for a load of 1s", d)
		}
		wg.Wait()
		if loads.Load() != 1 || p.count("acquire") != 0 || p.count("acquire-many") > 150 {
			t.Errorf("%d loads, %d single leases, %d batches of leases", loads.Load(), p.count("acquire"), p.count("acquire-many"))
		}
	})
}

// What another process gives back in the middle of the wait is loaded here, beside the wait for the
// rest.
func TestGetMany_LoadsWhatIsGivenBackWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		src := &manySource{source: newSource("a", "1", "b", "2")}
		cfg := over(src.source, p)
		cfg.Loader = src
		c := open(t, cfg)
		a, _, err := p.Acquire(t.Context(), "t:a", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := p.Acquire(t.Context(), "t:b", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			m, err := c.GetMany(t.Context(), []string{"a", "b"})
			if err != nil || m["a"] != "1" || m["b"] != "2" {
				t.Errorf("got %v, %v", m, err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		v, err := lookup(t.Context(), open(t, cfg), "a") // from the tier, while b is still waited for
		want(t, v, err, "1")
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := fmt.Sprint(src.batches); got != "[[a] [b]]" {
			t.Errorf("loaded %v", got)
		}
	})
}

// The memory of a batch is used again by the next one, but not while somebody who joined one of its
// flights, or whose patience ended before it, or a refresh may still look at it.
func TestGetMany_MemoryThatIsUsedAgainIsNobodyElses(t *testing.T) {
	for _, near := range []bool{true, false} {
		cfg := over(nil, newProbe())
		cfg.Local.Disabled = !near
		cfg.Local.TTL, cfg.Fresh, cfg.TTL = time.Millisecond, 2*time.Millisecond, 5*time.Millisecond
		cfg.Loader = LoaderFunc[string](func(_ context.Context, key string) (string, error) { return "value of " + key, nil })
		c := open(t, cfg)
		keys := make([]string, 40)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
		}
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for i := range 60 {
					ctx, cancel := context.Background(), context.CancelFunc(func() {})
					if i%3 == g%3 {
						ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(200))*time.Microsecond)
					}
					lo := rand.IntN(30)
					m, err := c.GetMany(ctx, keys[lo:lo+1+rand.IntN(10)])
					for k, v := range m {
						if v != "value of "+k {
							t.Errorf("%s has the %s", k, v)
						}
					}
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
	}
}
