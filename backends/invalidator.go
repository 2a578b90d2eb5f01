package backends

import (
	"context"
	"errors"
	"fmt"
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

// Fitting is for an [Invalidator] that does not hear of changes in every kind of remote tier. A cache
// over tiers that it does not fit refuses it: the link would look healthy, and L1 would be old. One that
// is [StoredOnly] and says nothing else fits a single store that keeps keys as they are given.
type Fitting interface {
	// Fits returns nil if it hears of every change in stores with these capabilities, nearest first;
	// else what it would not hear.
	Fits(remotes []Caps) error
}

// Fits returns nil if inv hears of every change in stores with these capabilities, nearest first, or
// does not say; else what it would not hear.
func Fits(inv Invalidator, remotes []Caps) error {
	if f, ok := inv.(Fitting); ok {
		return f.Fits(remotes)
	}
	if storedOnly(inv) {
		return FitsOne("", remotes)
	}
	return nil
}

func storedOnly(inv Invalidator) bool {
	s, ok := inv.(StoredOnly)
	return ok && s.StoredOnly()
}

// FitsOne is Fits of a source that is told by one server, or cluster, which knows the keys by names
// that begin with prefix. Where a key may be in one of several places, what L1 has is not always in
// the one that the source hears of, and nobody tells when it changes. No store at all fits: then the
// loader's source may be that server.
func FitsOne(prefix string, remotes []Caps) error {
	switch {
	case len(remotes) == 0:
		return nil
	case len(remotes) > 1:
		return fmt.Errorf("it is told by one server of keys that it holds, and there are %d remote tiers: use one by which the processes tell each other", len(remotes))
	case remotes[0].Split:
		return errors.New("it is told by one server of keys that it holds, and the remote tier keeps them in several places: use one by which the processes tell each other")
	case remotes[0].KeyPrefix != prefix:
		return fmt.Errorf("it hears of keys that the server knows with the prefix %q, and the store gives them the prefix %q (KeyPrefix): give both the same", prefix, remotes[0].KeyPrefix)
	}
	return nil
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
