package backends

import (
	"context"
	"time"
)

// Invalidator tells this process that keys changed elsewhere, so that its L1 forgets them.
type Invalidator interface {
	// Watch listens until ctx ends and reports everything to sink; it then returns ctx's error.
	// It reconnects by itself. Any doubt (connect, reconnect, error, unknown payload, gap) is a
	// Flush before anything else is reported, and the link is Down until it is known to work.
	// Watch may be called once at a time.
	Watch(ctx context.Context, sink Sink) error

	// Publish tells other processes that keys changed. Sources that see writes by themselves
	// (Redis tracking) do nothing. An error means that others may not have been told: the cache
	// then publishes again until there is none, so a source need not.
	Publish(ctx context.Context, keys []string) error

	// PublishFlush tells other processes to forget everything of this namespace.
	PublishFlush(ctx context.Context) error
}

// StoredOnly is for an [Invalidator] that is told by the remote tier's own server. Such a server
// says nothing when a key is removed that it does not hold, so an L1 must not keep what the remote
// tier has not taken: nobody would ever tell it that this has changed.
type StoredOnly interface {
	// StoredOnly reports whether only changes of stored keys are heard at present.
	StoredOnly() bool
}

// Selective is for an [Invalidator] that hears of the keys of one namespace and of no other. A cache
// of another namespace refuses it: it would never be told anything, and the link would look healthy.
type Selective interface {
	// Hears reports whether changes of namespace's keys are heard.
	Hears(namespace string) bool
}

// Paced is for an [Invalidator] that says how often it gives a sign of life. A cache that would give
// the link up sooner refuses it: the link would go down and up with each of them.
type Paced interface {
	// Pace returns the longest pause between two calls of [Sink.Alive] on a link that works, such
	// as the source's Ping; above zero.
	Pace() time.Duration
}

// Several is for an [Invalidator] that publishes through others. A cache then publishes through each
// of them by itself, so that one that fails neither holds up the others nor has them repeat things.
type Several interface {
	// Publishers returns the others, none of which is a Several.
	Publishers() []Invalidator
}

// Sink is what a listening L1 offers an [Invalidator]. Methods return quickly and are safe for
// concurrent use.
type Sink interface {
	// Forget drops keys. They are store keys as the tier gave them; a source that cannot map
	// what it saw to such a key must Flush.
	Forget(keys []string)
	// Flush drops everything, with the reason for logs and events.
	Flush(reason string)
	// Alive says that the link was heard from just now; Watch calls it at least once per ping.
	Alive()
	// Down says that the link is gone, or degraded, and why.
	Down(reason error)
}
