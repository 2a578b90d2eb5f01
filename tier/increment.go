package tier

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/codec"
)

// ErrNotNumber: the key holds a value that is no number, or the sum would not fit.
var ErrNotNumber = backends.ErrNotNumber

// IncrementOptions says how a counter begins. The zero value: at nothing, for the configured time.
type IncrementOptions struct {
	// Initial is what a counter that is not there counts from: it becomes Initial + delta.
	Initial int64

	// TTL of a counter that is not there. 0 = as configured. A counter that is there keeps its
	// lifetime.
	TTL time.Duration
}

// Increment adds delta to the counter under key and returns the new value. It is one operation of
// the authority (the farthest remote tier), so no count is lost, whoever counts beside it.
//
// Counters are plain decimal values: clients of any language may read them and count along. Get
// of a Cache whose V is an integer type reads them too, at most a second old from L1; of any other
// Cache it takes them for a miss. No Loader is asked. A value that was written by Set or Update is
// no plain decimal: where V is an integer type it is counted up by [Cache.Update], else it is
// [ErrNotNumber], as is a sum beyond 64 bits. Stores without signed counters (memcached) stop at
// zero. With Config.Barriers counters are values like all others, so that Clear clears them; they
// need an integer V, as does a cache without remotes.
//
// [ErrApplied]: it was counted, but a nearer tier or other processes could not be told; the value
// comes back with it. [ErrUnknown]: the answer was lost, and nobody can say whether it was
// counted; it is not sent again. [ErrUnsupported]: the authority cannot count, or there is a
// Writer. After any other error nothing has been counted.
func (c *Cache[V]) Increment(ctx context.Context, key string, delta int64, o IncrementOptions) (int64, error) {
	if err := c.check("increment", key); err != nil {
		return 0, err
	}
	if o.TTL < 0 {
		return 0, fmt.Errorf("cache: increment %q: %w", key, ErrInvalidTTL)
	}
	initial, ok := sum(o.Initial, delta)
	switch {
	case !ok:
		return 0, fmt.Errorf("cache: increment %q: %d%+d does not fit into 64 bits (%w)", key, o.Initial, delta, ErrNotNumber)
	case c.cfg.Writer != nil:
		return 0, fmt.Errorf("cache: increment %q beside a Writer: %w", key, ErrUnsupported)
	case len(c.levels) == 0 || c.barriers.on:
		return c.incrementValue(ctx, key, delta, o)
	}
	lv := c.levels[len(c.levels)-1]
	if lv.caps.Incrementer == nil {
		return 0, lv.wrap("increment", key, ErrUnsupported)
	}
	ttl := c.cfg.TTL
	if o.TTL > 0 {
		ttl = o.TTL
	}
	if lv.ttl > 0 {
		ttl = min(ttl, lv.ttl)
	}
	n, err := lv.counter(ctx, key, delta, initial, ttl)
	switch {
	case errors.Is(err, ErrUnknown):
		return 0, errors.Join(err, c.doubt(ctx, key))
	case errors.Is(err, ErrNotNumber) && integer[V]() && lv.caps.CASer != nil:
		v, uerr := c.incrementValue(ctx, key, delta, o)
		if errors.Is(uerr, codec.ErrForeign) {
			return 0, err // a plain value it is, and no number
		}
		return v, uerr
	case err != nil:
		return 0, err
	}
	if err := c.spread(ctx, write[V]{key: key}); err != nil {
		return n, fmt.Errorf("%w: %w", ErrApplied, err)
	}
	return n, nil
}

// Decrement is [Cache.Increment] by -delta.
func (c *Cache[V]) Decrement(ctx context.Context, key string, delta int64, o IncrementOptions) (int64, error) {
	if delta == math.MinInt64 {
		return 0, fmt.Errorf("cache: decrement %q: %d has no negative (%w)", key, delta, ErrNotNumber)
	}
	return c.Increment(ctx, key, -delta, o)
}

// incrementValue counts a value of the cache's own, by compare-and-swap.
func (c *Cache[V]) incrementValue(ctx context.Context, key string, delta int64, o IncrementOptions) (int64, error) {
	if !integer[V]() {
		return 0, fmt.Errorf("cache: increment %q of a %v: %w", key, reflect.TypeFor[V](), ErrUnsupported)
	}
	v, err := c.UpdateWith(ctx, key, func(old V, ok bool) (V, error) {
		from := o.Initial
		if ok {
			var fits bool
			if from, fits = toInt(old); !fits {
				return old, fmt.Errorf("cache: increment %q: %v is beyond 63 bits (%w)", key, old, ErrNotNumber)
			}
		}
		n, ok := sum(from, delta)
		v, fits := ofInt[V](n)
		if !ok || !fits {
			return old, fmt.Errorf("cache: increment %q: %d%+d does not fit into a %T (%w)", key, from, delta, old, ErrNotNumber)
		}
		return v, nil
	}, UpdateOptions{first: o.TTL})
	n, _ := toInt(v)
	return n, err
}

// counter is Increment at a level.
func (l *level) counter(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	if err := l.barred(key); err != nil {
		return 0, err
	}
	k := l.key(key)
	n, err := call(ctx, l, func(ctx context.Context) (int64, error) {
		return l.caps.Incrementer.Increment(ctx, k, delta, initial, ttl)
	})
	return n, l.wrapAny("increment", key, err)
}

// sum is a + b, if it fits.
func sum(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

// integer reports whether V is an integer type.
func integer[V any]() bool {
	k := reflect.TypeFor[V]().Kind()
	return k >= reflect.Int && k <= reflect.Uint64
}

// toInt is the number v, if an int64 holds it. V is an integer type.
func toInt[V any](v V) (int64, bool) {
	r := reflect.ValueOf(v)
	if r.CanInt() {
		return r.Int(), true
	}
	u := r.Uint()
	return int64(u), u <= math.MaxInt64
}

// ofInt is n as a V, if it fits: an unsigned counter stops at zero.
func ofInt[V any](n int64) (v V, ok bool) {
	r := reflect.ValueOf(&v).Elem()
	if r.CanInt() {
		if r.OverflowInt(n) {
			return v, false
		}
		r.SetInt(n)
		return v, true
	}
	u := uint64(max(n, 0))
	if r.OverflowUint(u) {
		return v, false
	}
	r.SetUint(u)
	return v, true
}

// counterTTL is how long a plain counter is served from L1 where its lifetime is not known: other
// clients count without telling anybody.
const counterTTL = time.Second

// counter reads a plain decimal that level i returned, where V is an integer type; nil if it is
// none. With barriers a plain value is none of ours: it could not be cleared.
func (c *Cache[V]) counter(it backends.Item, i int) *entry[V] {
	if !integer[V]() || c.barriers.on || !decimal(it.Value) {
		return nil
	}
	n, err := strconv.ParseInt(string(it.Value), 10, 64)
	if err != nil {
		return nil
	}
	v, ok := ofInt[V](n)
	if !ok || n < 0 && !reflect.ValueOf(v).CanInt() {
		return nil
	}
	ttl := counterTTL
	if it.TTL > 0 {
		ttl = min(ttl, it.TTL)
	}
	now := c.clock.Wall()
	return &entry[V]{value: v, created: now, expires: now + ceilMs(ttl), source: i}
}

// decimal reports whether p is digits, with a minus before them or not.
func decimal(p []byte) bool {
	if len(p) > 0 && p[0] == '-' {
		p = p[1:]
	}
	if len(p) == 0 || len(p) > 19 {
		return false
	}
	for _, d := range p {
		if d < '0' || d > '9' {
			return false
		}
	}
	return true
}
