// Package stream keeps the L1s of several processes in line through a Redis stream: a bounded
// log of what changed, which every process reads at its own pace.
//
//	source, err := stream.New(client, stream.Config{Namespace: "user"})
//	cache, err := tier.New(tier.Config[User]{
//		Namespace: "user",
//		Local:     tier.Local[User]{Invalidator: source},
//		Remotes:   []tier.Remote{{Name: "memcached", Store: store}},
//	})
//
// Like package bus it carries what hearth changes and nothing else. Unlike it, a reader whose
// connection broke for a moment (less than DeadAfter) reads on where it stopped and keeps its
// L1. It flushes when the log no longer reaches back to where it stopped, when the log is gone,
// ends before that place or has entries that cannot be read, and when the server is not the one it
// was: another master (a failover, a slot of a Cluster that moves) or the same one started again may
// have lost the end of the log. An entry that was lost in another way is missed when its sender says
// the next thing: every sender numbers its entries, and the first that a reader sees says nothing
// of those before. What could not be appended is published again by the cache, until it gets
// through. A reader that lags gives no sign of life until it has read all that is there.
//
// It costs a write to a log for each change, where the bus only passes a message on, and one
// more small question per read. Take it where connections break often and L1s are large.
//
// # Rights
//
// For namespace "user":
//
//	ACL SETUSER stream on >secret resetchannels resetkeys ~user!log -@all
//	    +xadd +xread +xrange +xrevrange +info +ping
//
// (without +info every reconnect flushes) and +client|setinfo from Redis 7.2 on. On a Cluster
// +cluster|slots and +asking besides. A refusal makes Watch return an error that [errors.Is]
// backends.ErrUnsupported.
package stream
