package l1

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hearthcache/hearth/bench/internal/side"
)

// TestBurst_KeepsEveryPutAtHalfOttersRate puts distinct keys without a pause into empty caches with
// room for twice as many. HEARTH_BURST sets how many; a million is what docs/performance.md shows.
func TestBurst_KeepsEveryPutAtHalfOttersRate(t *testing.T) {
	n := 200_000
	if s := os.Getenv("HEARTH_BURST"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	keys := Keys(n)
	for _, writers := range []int{1, 2, 32} {
		t.Run(strconv.Itoa(writers), func(t *testing.T) {
			side.Retry(t, 3, func() []string {
				var variants []side.Variant
				lost := make([]int, len(Peers))
				settle := make([]time.Duration, len(Peers))
				for i, peer := range Peers {
					var p Peer
					variants = append(variants, side.Variant{
						Name:   peer.Name,
						Fixed:  n,
						Before: func() { p = peer.New(2 * n) },
						Op: side.Parallel(writers, func(w, each int) {
							for _, k := range keys[w*each : (w+1)*each] {
								p.Put(k, &Value{ID: 1})
							}
						}),
						After: func() {
							for _, k := range keys[:n/writers*writers] {
								if p.Get(k) == nil {
									lost[i]++
								}
							}
							start := time.Now()
							p.Wait()
							settle[i] += time.Since(start)
							p.Close()
						},
					})
				}
				res := side.Run(side.Plan{Rounds: 3}, variants...)
				side.Table(os.Stderr, strconv.Itoa(writers)+" writers", res)
				for i, peer := range Peers {
					t.Logf("%s: %.1f %% lost, settled %v after the burst", peer.Name,
						100*float64(lost[i])/float64(3*n), (settle[i] / 3).Round(time.Millisecond))
				}
				over := side.Over(res, "hearth-l1", side.Wall, map[string]float64{"otter": 3.3, "otter-ttl": 3.3})
				if lost[len(lost)-1] > 0 {
					t.Error("hearth lost", lost[len(lost)-1])
				}
				return over
			})
		})
	}
}
