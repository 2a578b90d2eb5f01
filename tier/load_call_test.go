package tier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A load costs its flight, its entry, two contexts with their timers and its place in L1.
func TestAllocations_MissAndLoad(t *testing.T) {
	if raceEnabled {
		return
	}
	cfg := Config[*int]{Jitter: -1, Load: Load{EarlyBeta: -1}}
	cfg.Local.Cost = func(*int) int64 { return 100 }
	c := open(t, cfg)
	keys := make([]string, 300)
	for i := range keys {
		keys[i] = fmt.Sprint("key:", i)
	}
	found, next := new(int), 0
	load := func(context.Context, string) (*int, error) { return found, nil }
	got := testing.AllocsPerRun(len(keys)-1, func() {
		if v, err := c.GetOrLoad(context.Background(), keys[next], load); err != nil || v != found {
			t.Fatal(v, err)
		}
		next++
	})
	if got > 24 {
		t.Errorf("%v allocations, want 24 at most", got)
	}
}

// What a load was given and what it came to stay its own, whether it ends in time, too late, or not
// as it should.
func TestLoad_CallsThatAreUsedAgainDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config[string]{Load: Load{Timeout: time.Second}}
		cfg.Local.Disabled = true
		cfg.Remotes = []Remote{{Name: "a", Store: newProbe()}}
		c := open(t, cfg)
		late := errors.New("late")
		load := func(ctx context.Context, key string) (string, error) {
			switch key[:1] {
			case "p":
				panic(key)
			case "l": // notices the end of its context, and takes its time
				<-ctx.Done()
				time.Sleep(time.Minute)
				return "of nobody", late
			}
			time.Sleep(time.Millisecond)
			return key, nil
		}
		var wg sync.WaitGroup
		for i := range 90 {
			wg.Go(func() {
				key := fmt.Sprint("plv"[i%3:i%3+1], i)
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				v, err := c.GetOrLoad(t.Context(), key, load)
				var p *PanicError
				switch key[:1] {
				case "p":
					if !errors.As(err, &p) || p.Value != key {
						t.Errorf("%s: %q, %v", key, v, err)
					}
				case "l":
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %q, %v", key, v, err)
					}
				default:
					if v != key || err != nil {
						t.Errorf("%s: %q, %v", key, v, err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * time.Minute) // the late ones
	})
}

func TestClose_CancelsLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config[string]{}
		c := open(t, cfg)
		began, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := c.GetOrLoad(context.Background(), "k", func(ctx context.Context, _ string) (string, error) {
				close(began)
				<-ctx.Done()
				return "", ctx.Err()
			})
			ended <- err
		}()
		<-began
		start := time.Now()
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the reader got %v", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("Close waited %v", d)
		}
	})
}
