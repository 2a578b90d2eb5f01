package tier

import (
	"math"
	"math/rand/v2"
	"time"
)

// earlyAt is when the refresh of e falls due, in Unix ms; 0 = never. It is the end of its fresh
// time, brought forward by chance (XFetch) and by the configured fraction.
//
// XFetch asks at each read whether now - load*beta*ln(rand) has passed the expiry. Here the
// random number is drawn once per entry and process instead of once per read: the hit path then
// compares a deadline that it compares anyway, and a key that is read ten times as often is not
// refreshed any earlier.
func (c *Cache[V]) earlyAt(e *entry[V]) int64 {
	end := e.fresh
	if end == 0 {
		end = e.expires
	}
	if end == 0 || c.cfg.Load.EarlyBeta == 0 && c.cfg.Load.EarlyAt == 0 || e.source == fromWriter {
		return e.fresh
	}
	due := end
	if life := end - e.created; life > 0 {
		if beta := c.cfg.Load.EarlyBeta; beta > 0 && e.load > 0 {
			load := min(float64(e.load)/float64(time.Millisecond), float64(life)/4)
			due = min(due, end-int64(load*beta*-math.Log(1-rand.Float64())))
		}
		if at := c.cfg.Load.EarlyAt; at > 0 {
			due = min(due, e.created+int64(float64(life)*at))
		}
	}
	if due >= end {
		return e.fresh
	}
	return max(due, e.created+1)
}

// dueEarly reports whether e, just read from a remote tier, should be refreshed already.
func (c *Cache[V]) dueEarly(e *entry[V], now int64) bool {
	due := c.earlyAt(e)
	return due != 0 && now >= due
}

// isDue reports whether e, just read from a remote tier, is to be refreshed: it is stale, or early
// refresh says so.
func (c *Cache[V]) isDue(e *entry[V], now int64) bool { return e.staleAt(now) || c.dueEarly(e, now) }
