package tier

import (
	"testing"
	"time"
)

func TestLifetime_JitterOnlySubtracts(t *testing.T) {
	for _, row := range []struct {
		name   string
		jitter float64
		least  time.Duration // of a TTL of 100 s
	}{
		{"the default takes a tenth off", 0, 90 * time.Second},
		{"as much as is asked for", 0.5, 50 * time.Second},
		{"none", -1, 100 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := open(t, Config[string]{TTL: 100 * time.Second, Fresh: 50 * time.Second, NegativeTTL: 100 * time.Second, Jitter: row.jitter})
			shortest, longest := time.Hour, time.Duration(0)
			for range 2000 {
				for _, absent := range []bool{false, true} {
					l := c.lifetimeOf(absent, 0, 0)
					shortest, longest = min(shortest, l.ttl), max(longest, l.ttl)
					if l.fresh > l.ttl {
						t.Fatalf("fresh for %v of %v", l.fresh, l.ttl)
					}
				}
			}
			span := 100*time.Second - row.least
			if longest > 100*time.Second || shortest < row.least {
				t.Errorf("lifetimes from %v to %v, want them within %v and 100 s", shortest, longest, row.least)
			}
			if longest-shortest < span*9/10 { // chance: 0.95^4000
				t.Errorf("lifetimes from %v to %v, want them spread over %v", shortest, longest, span)
			}
		})
	}
}
