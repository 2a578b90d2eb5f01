package backendtest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/hearthcache/hearth/backends"
)

// racers is how many goroutines race. A few are enough: each case starts them together.
const racers = 8

// race calls f on racers goroutines at once and waits for all.
func race(f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

var concurrencyCases = []Case{
	{
		Name:  "concurrency/OneAddWins",
		Why:   "two winners are two owners of one lock",
		needs: needCASer,
		run: func(e *env) {
			for round := range 20 {
				k, errs := e.key(fmt.Sprint(round)), make([]error, racers)
				race(func(i int) { errs[i] = e.caps.CASer.Add(e.ctx, k, item(fmt.Sprint(i))) })
				winner := -1
				for i, err := range errs {
					switch {
					case err == nil && winner >= 0:
						e.Fatalf("adds %d and %d both won", winner, i)
					case err == nil:
						winner = i
					default:
						e.is(err, backends.ErrExists, "losing add")
					}
				}
				if winner < 0 {
					e.Fatalf("no add won")
				}
				e.holds(k, fmt.Sprint(winner))
			}
		},
	},
	{
		Name:  "concurrency/OneLeaseIsGranted",
		Why:   "two leases are two loads, and a fence with a hole",
		needs: needLeaser,
		run: func(e *env) {
			for round := range 20 {
				k, leases, errs := e.key(fmt.Sprint(round)), make([]backends.Lease, racers), make([]error, racers)
				race(func(i int) { leases[i], _, errs[i] = e.caps.Leaser.Acquire(e.ctx, k, hour) })
				granted := 0
				for i, l := range leases {
					if l != nil {
						granted++
						e.ok(errs[i], "acquire")
						e.ok(l.Fill(e.ctx, item("v")), "fill")
					} else {
						e.is(errs[i], backends.ErrLeased, "acquire of a leased key")
					}
				}
				if granted != 1 {
					e.Fatalf("%d leases were granted for one key", granted)
				}
			}
		},
	},
	{
		Name:  "concurrency/OneSeizerFills",
		Why:   "of racing writers exactly the last may leave its value",
		needs: needFencer,
		run: func(e *env) {
			for round := range 20 {
				k, errs := e.key(fmt.Sprint(round)), make([]error, racers)
				leases := make([]backends.Lease, racers)
				race(func(i int) { leases[i], errs[i] = e.caps.Fencer.Seize(e.ctx, k, hour) })
				for _, err := range errs {
					e.ok(err, "seize")
				}
				race(func(i int) { errs[i] = leases[i].Fill(e.ctx, item(fmt.Sprint(i))) })
				winner := -1
				for i, err := range errs {
					if err == nil {
						if winner >= 0 {
							e.Fatalf("seizers %d and %d both filled", winner, i)
						}
						winner = i
					} else {
						e.is(err, backends.ErrLeaseLost, "fill by an earlier seizer")
					}
				}
				e.holds(k, fmt.Sprint(winner))
			}
		},
	},
	{
		Name:  "concurrency/NoUpdateIsLost",
		Why:   "it is what compare-and-swap is for",
		needs: needCASer,
		run: func(e *env) {
			const each = 10
			k, errs := e.key("k"), make([]error, racers)
			e.set(k, "0")
			race(func(i int) {
				for range each {
					if errs[i] = e.swapUp(k); errs[i] != nil {
						return
					}
				}
			})
			for _, err := range errs {
				e.ok(err, "update")
			}
			e.holds(k, strconv.Itoa(racers*each))
		},
	},
	{
		Name:  "concurrency/NoIncrementIsLost",
		Why:   "a counter that reads and writes back loses events under load",
		needs: needIncr,
		run: func(e *env) {
			const each = 20
			k, errs := e.key("k"), make([]error, racers)
			race(func(i int) {
				for range each {
					if _, err := e.caps.Incrementer.Increment(e.ctx, k, 1, 1, 0); err != nil {
						errs[i] = err
						return
					}
				}
			})
			for _, err := range errs {
				e.ok(err, "increment")
			}
			e.holds(k, strconv.Itoa(racers*each))
		},
	},
	{
		Name:  "concurrency/NewestVersionStays",
		Why:   "deliveries in any order end with the newest",
		needs: needVersioner,
		run: func(e *env) {
			k, errs := e.key("k"), make([]error, racers)
			race(func(i int) {
				for v := uint64(i + 1); v <= 10*racers; v += racers {
					err := e.caps.Versioner.SetNewer(e.ctx, k, versioned(v, fmt.Sprint(v)))
					if err != nil && !errors.Is(err, backends.ErrOlder) {
						errs[i] = err
					}
				}
			})
			for _, err := range errs {
				e.ok(err, "setnewer")
			}
			e.holdsItem(k, versioned(10*racers, fmt.Sprint(10*racers)))
		},
	},
	{
		Name: "concurrency/ReadersSeeWholeValues",
		Why:  "a reader between two writes sees one of them, never a mixture",
		run: func(e *env) {
			k, bad := e.key("k"), make([]error, racers)
			whole := func(i int) backends.Item {
				b := make([]byte, 10_000)
				for j := range b {
					b[j] = byte('a' + i)
				}
				return backends.Item{Value: b}
			}
			e.setItem(k, whole(0))
			race(func(i int) {
				for range 10 {
					if i%2 == 0 {
						bad[i] = errors.Join(bad[i], e.Store.Set(e.ctx, k, whole(i)))
						continue
					}
					it, err := e.Store.Get(e.ctx, k)
					if err == nil && (len(it.Value) != 10_000 || string(it.Value) != string(whole(int(it.Value[0]-'a')).Value)) {
						err = fmt.Errorf("torn value of %d bytes", len(it.Value))
					}
					bad[i] = errors.Join(bad[i], err)
				}
			})
			e.ok(errors.Join(bad...), "reading while writing")
		},
	},
}

// swapUp adds one to a counter by compare-and-swap.
func (e *env) swapUp(key string) error {
	for {
		it, err := e.Store.Get(e.ctx, key)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(it.Value))
		if err != nil {
			return err
		}
		err = e.caps.CASer.CompareAndSwap(e.ctx, key, it.Token, item(strconv.Itoa(n+1)))
		if !errors.Is(err, backends.ErrConflict) {
			return err
		}
	}
}
