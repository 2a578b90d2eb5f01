package tier

import (
	"context"
	"time"
)

// Observer receives events: what is worth a log line, a metric or a trace. It is called on the
// path of the event, so it must be quick; it is never called for an L1 hit. What happens to the
// Invalidator's link (the last three events) is told beside that path, in order, so that nothing holds
// up the news; of an Observer that is a thousand events behind the oldest are lost. Safe for concurrent
// use.
type Observer interface {
	// Observe is told of ev. ctx is that of the call that met it, or of the cache where none did. A
	// panic is not caught.
	Observe(ctx context.Context, ev Event)
}

// ObserverFunc makes an Observer of a function.
type ObserverFunc func(ctx context.Context, ev Event)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, ev Event) { f(ctx, ev) }

// Event is something that happened. Only the fields that its Kind names are set.
type Event struct {
	Kind  EventKind     // what happened
	Key   string        // the key, or the first of Keys
	Keys  int           // how many keys it concerns; 0 = one
	Tier  string        // the remote tier, by name
	State string        // EventBreaker: "closed", "open", "half-open"
	Err   error         // what went wrong
	Took  time.Duration // how long it took
}

// EventKind names an event.
type EventKind string

// The events.
const (
	EventLoadFailed    EventKind = "load_failed"    // Key, Err, Took
	EventFailSafe      EventKind = "fail_safe"      // Key, Err: a stale value is served instead
	EventUnreadable    EventKind = "unreadable"     // Key, Tier, Err: stored bytes that are no value of this cache
	EventPromoteFailed EventKind = "promote_failed" // Key, Tier, Err
	EventInvalidate    EventKind = "invalidate"     // Key, Keys, Err: nil when every tier took it
	EventOutboxLog     EventKind = "outbox_log"     // Tier, Key, Keys, Err: the log of the outbox failed
	EventBreaker       EventKind = "breaker"        // Tier, State, Err
	EventL1Flushed     EventKind = "l1_flushed"     // Err: why
	EventLinkDown      EventKind = "link_down"      // Err: the invalidator's link
	EventLinkUp        EventKind = "link_up"        //
)

// observe hands ev to the configured Observer.
func (c *Cache[V]) observe(ctx context.Context, ev Event) {
	if c.cfg.Observer != nil {
		c.cfg.Observer.Observe(ctx, ev)
	}
}
