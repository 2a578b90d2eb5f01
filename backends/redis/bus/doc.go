// Package bus keeps the L1s of several processes in line where the cache's own server cannot
// tell what changed: over memcached, or over several kinds of servers. The processes tell each
// other through a channel of a Redis (pub/sub), which holds no data.
//
//	source, err := bus.New(client, bus.Config{Namespace: "user"})
//	cache, err := tier.New(tier.Config[User]{
//		Namespace: "user",
//		Local:     tier.Local[User]{Invalidator: source},
//		Remotes:   []tier.Remote{{Name: "memcached", Store: store}},
//	})
//
// It hears what hearth changes and nothing else: not other clients, not expiry, not eviction.
// Where the remote tier is a Redis, package tracking hears those too.
//
// # Nothing is lost in silence
//
// Pub/sub delivers at most once: a connection that breaks loses what was under way, and nobody
// is told. So every sender numbers its messages, and a receiver that misses a number flushes. The
// last number before silence is repeated a ping apart, by a sender that watches, until three of
// them got through. A sender that is heard for the first time in mid-count, a message that cannot
// be read and every (re)connect flush as well. A connection on which nothing is heard for DeadAfter
// is given up; the link is down until another one is subscribed. On a Cluster a source asks once a
// ping which master has the channel's slot, and follows it.
//
// Publish returns when the server has the message, so that a write is known to be on its way to
// the others when it returns. Calls that come meanwhile are sent together. What failed is published
// again by the cache, until it gets through.
//
// # Rights
//
// For namespace "user":
//
//	ACL SETUSER bus on >secret resetkeys resetchannels &user!bus -@all
//	    +subscribe +publish +ping
//
// and +client|setinfo from Redis 7.2 on; on a Cluster, on all of its nodes, +cluster|slots besides.
// With Sharded +ssubscribe and +spublish take the place of +subscribe and +publish. A refusal makes
// Watch return an error that [errors.Is] backends.ErrUnsupported.
package bus
