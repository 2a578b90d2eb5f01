package memcached

import (
	"fmt"
	"math"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

func TestIncrement_EdgesOfTheRange(t *testing.T) {
	s, ctx := one(t, Config{}), t.Context()
	for _, c := range []struct {
		name, start string
		delta       int64
		want        int64
		err         error
		after       string
	}{
		{"up", "41", 1, 42, nil, "42"},
		{"down to fewer digits", "100", -95, 5, nil, "5"},
		{"below zero", "3", -5, 0, nil, "0"},
		{"by nothing", "3", 0, 3, nil, "3"},
		{"to the top", fmt.Sprint(math.MaxInt64 - 1), 1, math.MaxInt64, nil, fmt.Sprint(math.MaxInt64)},
		{"past the top", fmt.Sprint(math.MaxInt64), 1, 0, backends.ErrNotNumber, fmt.Sprint(math.MaxInt64)},
		{"far past the top", "5", math.MaxInt64, 0, backends.ErrNotNumber, "5"},
		{"the smallest delta", "7", math.MinInt64, 0, nil, "0"},
		{"another's counter that wraps", fmt.Sprint(uint64(math.MaxUint64)), 5, 0, backends.ErrNotNumber, fmt.Sprint(uint64(math.MaxUint64))},
		{"another's counter beyond ours", fmt.Sprint(uint64(math.MaxUint64)), -5, 0, backends.ErrNotNumber, fmt.Sprint(uint64(math.MaxUint64))},
		{"text", "abc", 1, 0, backends.ErrNotNumber, "abc"},
		{"nothing", "", 1, 0, backends.ErrNotNumber, ""},
		{"a negative number", "-5", 1, 0, backends.ErrNotNumber, "-5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok(t, s.Set(ctx, "n", text(c.start)))
			n, err := s.Increment(ctx, "n", c.delta, 9, 0)
			is(t, err, c.err)
			if n != c.want {
				t.Errorf("got %d, want %d", n, c.want)
			}
			holds(t, s, "n", c.after)
		})
	}
}

func TestIncrement_OverLeaseTombstoneAndFrame(t *testing.T) {
	for _, k := range []LeaseKey{InData, Separate} {
		s, ctx := one(t, Config{LeaseKey: k}), t.Context()
		_, _, err := s.Acquire(ctx, "leased", 1e9)
		ok(t, err)
		n, err := s.Increment(ctx, "leased", 1, 7, 0)
		if ok(t, err); n != 7 {
			t.Errorf("over a lease: %d, want the initial 7", n)
		}
		ok(t, s.DeleteHold(ctx, "held", 1e9, 1))
		_, err = s.Increment(ctx, "held", 1, 7, 0)
		is(t, err, backends.ErrHeldOff)
		frame := wire.NewTombstone(1)
		frame[1] = byte(wire.Frame)
		ok(t, s.Set(ctx, "frame", backends.Item{Value: frame}))
		_, err = s.Increment(ctx, "frame", 1, 7, 0)
		is(t, err, backends.ErrNotNumber)
		n, err = s.Increment(ctx, "new", 1, -7, 0)
		if ok(t, err); n != 0 {
			t.Errorf("a negative start: %d, want 0", n)
		}
	}
}
