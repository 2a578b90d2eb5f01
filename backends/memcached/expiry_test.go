package memcached

import (
	"math"
	"testing"
	"time"
)

func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Unix(1_800_000_000, 999_999_999)
	unix := func(d time.Duration) int32 { return int32(now.Unix() + int64(d/time.Second) + 2) }
	for _, c := range []struct {
		name, why string
		ttl       time.Duration
		want      int32
	}{
		{"none", "0 is until evicted", 0, 0},
		{"negative", "gone at once, never for ever", -1, gone},
		{"very negative", "", math.MinInt64, gone},
		{"a nanosecond", "cut down it would be 0, for ever", 1, 2},
		{"half a second", "", 500 * time.Millisecond, 2},
		{"a second", "the first tick comes in less than one", time.Second, 2},
		{"a second and a bit", "", time.Second + 1, 3},
		{"a minute", "", time.Minute, 61},
		{"just under 30 days", "the longest that is still relative", 30*day - time.Second, month},
		{"30 days", "with the added second it must be a date", 30 * day, unix(30 * day)},
		{"31 days", "as seconds it would be a day in 1970", 31 * day, unix(31 * day)},
		{"a year", "", 365 * day, unix(365 * day)},
		{"100 years", "ends in 2038", 100 * 365 * day, math.MaxInt32},
		{"the longest", "", math.MaxInt64, math.MaxInt32},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := expiry(c.ttl, now); got != c.want {
				t.Errorf("expiry(%v) = %d, want %d: %s", c.ttl, got, c.want, c.why)
			}
		})
	}
}

func TestRemaining_TakesBackWhatExpiryAdded(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		-1: 0, 0: time.Millisecond, 1: time.Millisecond, 2: time.Second, 61: time.Minute, math.MaxInt64: math.MaxInt64,
	} {
		if got := remaining(seconds); got != want {
			t.Errorf("remaining(%d) = %v, want %v", seconds, got, want)
		}
	}
	for ttl := time.Second; ttl < time.Hour; ttl += 7 * time.Second {
		if got := remaining(int64(expiry(ttl, time.Now()))); got != ttl {
			t.Fatalf("a TTL of %v came back as %v", ttl, got)
		}
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add(int64(0), int64(1_800_000_000))
	f.Add(int64(30*24*time.Hour), int64(1_800_000_000))
	f.Add(int64(math.MaxInt64), int64(2_147_483_000))
	f.Fuzz(func(t *testing.T, ttl, unix int64) {
		unix = min(max(unix, 0), 4_000_000_000) & math.MaxInt64
		now, d := time.Unix(unix, 0), time.Duration(ttl)
		exp := int64(expiry(d, now))
		switch {
		case d == 0 && exp != 0, d > 0 && exp <= 0, d < 0 && exp >= 0:
			t.Fatalf("expiry(%v) = %d", d, exp)
		case d <= 0:
		case exp <= month && time.Duration(exp)*time.Second <= d:
			t.Fatalf("expiry(%v) = %d lives shorter than asked", d, exp)
		case exp > month && exp != math.MaxInt32 && time.Unix(exp, 0).Before(now.Add(d)):
			t.Fatalf("expiry(%v) = %d lives shorter than asked", d, exp)
		}
	})
}
