package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/singleflight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

func TestJoin_FirstLeadsAndAllGetItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		lead, leader := g.Join("k")
		if !leader {
			t.Fatal("the first is no leader")
		}
		var wg sync.WaitGroup
		for range 10 {
			c, leader := g.Join("k")
			if leader || c != lead {
				t.Fatal("a second leader")
			}
			wg.Go(func() {
				if v, err := c.Wait(t.Context()); v != 7 || err != errDown {
					t.Errorf("a follower got %d, %v", v, err)
				}
			})
		}
		synctest.Wait()
		lead.Finish(7, errDown)
		wg.Wait()
		if v, err := lead.Wait(t.Context()); v != 7 || err != errDown {
			t.Errorf("the leader got %d, %v", v, err)
		}
		<-lead.Done()
		if _, leader := g.Join("k"); !leader {
			t.Error("the key is not free after Finish")
		}
	})
}

func TestFinish_TwicePanics(t *testing.T) {
	var g Group[int]
	c, _ := g.Join("k")
	c.Finish(1, nil)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
		if v, _ := c.Wait(t.Context()); v != 1 {
			t.Errorf("the second Finish changed the result to %d", v)
		}
	}()
	c.Finish(2, nil)
}

func TestWait_PrefersAResultToAnEndedContext(t *testing.T) {
	var g Group[int]
	c, _ := g.Join("k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Finish(1, nil)
	if v, err := c.Wait(ctx); v != 1 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestForget_PartsPresentFromFuture(t *testing.T) {
	var g Group[int]
	old, _ := g.Join("k")
	g.Forget("k")
	fresh, leader := g.Join("k")
	if !leader {
		t.Fatal("joined a forgotten call")
	}
	old.Finish(1, nil)
	if c, leader := g.Join("k"); leader || c != fresh {
		t.Error("finishing the forgotten call took the new one out")
	}
	fresh.Finish(2, nil)
	if v, _ := old.Wait(t.Context()); v != 1 {
		t.Errorf("who waited for the old call got %d", v)
	}
	if v, _ := fresh.Wait(t.Context()); v != 2 {
		t.Errorf("who came later got %d", v)
	}
}

func TestForgetAll_PartsEveryKey(t *testing.T) {
	var g Group[int]
	for i := range 200 {
		g.Join(fmt.Sprint(i))
	}
	if g.Len() != 200 {
		t.Errorf("Len = %d", g.Len())
	}
	g.ForgetAll()
	if g.Len() != 0 {
		t.Errorf("Len = %d after ForgetAll", g.Len())
	}
	for i := range 200 {
		if _, leader := g.Join(fmt.Sprint(i)); !leader {
			t.Fatalf("key %d is still in progress", i)
		}
	}
}

func TestOnAbandon_RunsWhenTheLastHasLeft(t *testing.T) {
	var g Group[int]
	c, _ := g.Join("k")
	g.Join("k")
	stopped := 0
	c.OnAbandon(func() { stopped++ })
	c.Leave()
	if stopped != 0 {
		t.Error("stopped while somebody waits")
	}
	c.Leave()
	if stopped != 1 {
		t.Errorf("stopped %d times", stopped)
	}
	if _, leader := g.Join("k"); !leader {
		t.Error("a call that is being stopped can be joined")
	}
	c.OnAbandon(func() { stopped++ })
	if stopped != 2 {
		t.Error("registered after the fact, not run")
	}
	c.Finish(1, nil)
	c.OnAbandon(func() { stopped++ })
	c.Leave()
	if stopped != 2 {
		t.Error("run after Finish")
	}
}

func TestOnAbandon_IsOverruledByKeepGoing(t *testing.T) {
	g := Group[int]{KeepGoing: true}
	c, _ := g.Join("k")
	c.OnAbandon(func() { t.Error("stopped") })
	c.Leave()
	again, leader := g.Join("k")
	if leader {
		t.Fatal("the call that goes on cannot be joined")
	}
	c.Finish(3, nil)
	if v, err := again.Wait(t.Context()); v != 3 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestDo_RunsOnceForAThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var runs, leaders atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v, shared, err := g.Do(t.Context(), "k", time.Second, func(context.Context) (int, error) {
					time.Sleep(50 * time.Millisecond)
					return int(runs.Add(1)), nil
				})
				if v != 1 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
				if !shared {
					leaders.Add(1)
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 || leaders.Load() != 1 {
			t.Errorf("%d runs, %d leaders", runs.Load(), leaders.Load())
		}
	})
}

func TestDo_FollowersAllGetTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, _, err := g.Do(t.Context(), "k", 0, func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return 0, errDown
				})
				if !errors.Is(err, errDown) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestDo_LeadersCancelEndsOnlyItsOwnWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		ctx, cancel := context.WithCancel(t.Context())
		work := func(ctx context.Context) (int, error) {
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Second):
				return 9, nil
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, shared, err := g.Do(ctx, "k", 0, work); shared || err != context.Canceled {
				t.Errorf("leader: shared %t, %v", shared, err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if v, shared, err := g.Do(t.Context(), "k", 0, work); v != 9 || !shared || err != nil {
				t.Errorf("follower: %d, shared %t, %v", v, shared, err)
			}
		})
		synctest.Wait()
		start := time.Now()
		cancel()
		wg.Wait()
		if d := time.Since(start); d != time.Second {
			t.Errorf("the work took %v", d)
		}
	})
}

func TestDo_FollowerLeavesAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		c, _ := g.Join("k")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, shared, err := g.Do(ctx, "k", 0, nil)
		if !shared || err != context.DeadlineExceeded || time.Since(start) != 10*time.Millisecond {
			t.Errorf("shared %t, %v after %v", shared, err, time.Since(start))
		}
		c.Finish(1, nil)
	})
}

func TestDo_WorkIsCancelledWhenAllHaveLeft(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("KeepGoing=%t", keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := Group[int]{KeepGoing: keep}
				var ended error
				var wg sync.WaitGroup
				for i := range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
					defer cancel()
					wg.Go(func() {
						_, _, err := g.Do(ctx, "k", 0, func(ctx context.Context) (int, error) {
							select {
							case <-ctx.Done():
							case <-time.After(time.Minute):
							}
							ended = ctx.Err()
							return 0, ended
						})
						if err != context.DeadlineExceeded {
							t.Errorf("caller %d got %v", i, err)
						}
					})
				}
				start := time.Now()
				wg.Wait()
				synctest.Wait()
				if keep {
					if g.Len() != 1 {
						t.Error("the work that goes on cannot be joined")
					}
					time.Sleep(time.Minute)
					synctest.Wait()
					if ended != nil {
						t.Errorf("the work was ended: %v", ended)
					}
					return
				}
				if ended != context.Canceled || time.Since(start) != 3*time.Second || g.Len() != 0 {
					t.Errorf("ended with %v after %v, %d keys left", ended, time.Since(start), g.Len())
				}
			})
		})
	}
}

type traceKey struct{}

func TestDo_WorkSeesTheValuesAndItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), traceKey{}, "id"), time.Minute)
		defer cancel()
		_, _, err := g.Do(ctx, "k", time.Second, func(ctx context.Context) (int, error) {
			if ctx.Value(traceKey{}) != "id" {
				t.Error("the values are gone")
			}
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("deadline in %v, %t", time.Until(at), ok)
			}
			<-ctx.Done()
			return 0, fmt.Errorf("mine: %w", ctx.Err())
		})
		if err == nil || err.Error() != "mine: context deadline exceeded" {
			t.Errorf("got %v, want the work's own error", err)
		}
	})
}

func TestDo_WorkThatIgnoresItsDeadlineHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		start := time.Now()
		_, _, err := g.Do(t.Context(), "k", time.Second, func(context.Context) (int, error) {
			time.Sleep(time.Hour)
			return 1, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 1250*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if g.Len() != 0 {
			t.Error("the key is still taken")
		}
		time.Sleep(2 * time.Hour) // its late result is dropped in peace
	})
}

func TestDo_PanicAndGoexitAreErrorsForAll(t *testing.T) {
	endless, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, row := range []struct {
		name string
		work func()
		ok   func(error) bool
	}{
		{"panic", func() { panic("boom") }, func(err error) bool {
			p, ok := errors.AsType[*PanicError](err)
			return ok && p.Value == "boom" && len(p.Stack) > 0 && err.Error() == "panic: boom"
		}},
		{"panic with an error", func() { panic(errDown) }, func(err error) bool { return errors.Is(err, errDown) }},
		{"Goexit", runtime.Goexit, func(err error) bool { return errors.Is(err, ErrGoexit) }},
	} {
		for name, ctx := range map[string]context.Context{"inline": context.Background(), "goroutine": endless} {
			t.Run(row.name+"/"+name, func(t *testing.T) {
				var g Group[int]
				joined, release := make(chan *Call[int]), make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _, err := g.Do(ctx, "k", time.Minute, func(context.Context) (int, error) {
						c, _ := g.Join("k")
						joined <- c
						<-release
						row.work()
						return 1, nil
					})
					if !row.ok(err) { // not reached by an inline Goexit
						t.Errorf("the leader got %v", err)
					}
				})
				follower := <-joined
				close(release)
				if _, err := follower.Wait(t.Context()); !row.ok(err) {
					t.Errorf("a follower got %v", err)
				}
				wg.Wait()
				if g.Len() != 0 {
					t.Error("the key is still taken")
				}
			})
		}
	}
}

func TestDo_EndedContextStartsNothing(t *testing.T) {
	var g Group[int]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := g.Do(ctx, "k", 0, func(context.Context) (int, error) {
		t.Error("ran")
		return 0, nil
	})
	if err != context.Canceled || g.Len() != 0 {
		t.Errorf("got %v, %d in progress", err, g.Len())
	}
}

func TestJoin_UncontendedCostsOneAllocation(t *testing.T) {
	var g Group[int]
	g.Join("warm") // the shard's map
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		c, _ := g.Join("warm2")
		c.Finish(1, nil)
		_, _ = c.Wait(ctx)
	}); n > 1 {
		t.Errorf("Join and Finish: %v allocations", n)
	}
	work := func(context.Context) (int, error) { return 1, nil }
	if n := testing.AllocsPerRun(1000, func() { _, _, _ = g.Do(ctx, "warm2", 0, work) }); n > 1 {
		t.Errorf("Do: %v allocations", n)
	}
}

func BenchmarkDo(b *testing.B) {
	var g Group[int]
	ctx := context.Background()
	work := func(context.Context) (int, error) { return 1, nil }
	b.Run("singleflight", func(b *testing.B) {
		var g singleflight.Group
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = g.Do("key:0000000001", func() (any, error) { return nil, nil })
		}
	})
	b.Run("inline", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = g.Do(ctx, "key:0000000001", 0, work)
		}
	})
	b.Run("join", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, _ := g.Join("key:0000000001")
			c.Finish(1, nil)
			_, _ = c.Wait(ctx)
		}
	})
	b.Run("goroutine", func(b *testing.B) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = g.Do(ctx, "key:0000000001", time.Second, work)
		}
	})
}
