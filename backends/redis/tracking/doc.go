// Package tracking keeps L1 in line with a Redis server by the server's own word: the server
// tells which keys changed, whoever changed them and with whatever client.
//
//	client := goredis.NewClient(redis.Options("cache.internal:6379"))
//	source, err := tracking.New(client, tracking.Config{Namespace: "user"})
//	cache, err := tier.New(tier.Config[User]{
//		Namespace: "user",
//		Local:     tier.Local[User]{Invalidator: source},
//		Remotes:   []tier.Remote{{Name: "redis", Store: store}},
//	})
//
// Where several services share the server and the store is one of [backends.Prefix], Config.KeyPrefix
// is that prefix. A cache over a store with another one refuses the source: it would hear nothing.
//
// # One remote tier
//
// The server tells of keys that it holds, so what is in L1 has to be there as well. With a second
// remote tier, or a fallback, it need not be: a value that was found in the other one, or that this
// one has evicted, may be deleted everywhere and the server says nothing. A cache with several remote
// tiers refuses this source; with package bus or stream the processes tell each other.
//
// # How it works
//
// One connection to each master, of its own, speaks RESP3 and asks for
// CLIENT TRACKING ON BCAST PREFIX ns:. From then on the server pushes the name of every key with
// that prefix when it is written, deleted, renamed, given another lifetime, expires or is
// evicted, and "everything" on FLUSHDB and FLUSHALL. On one server a change is heard of some 60
// microseconds after it was made. Nothing is published by hearth: Publish does nothing.
//
// The source pings each connection and gives it up when nothing was heard for DeadAfter. It says
// that the link is alive as long as none of them is two pings late. While a
// connection is missing the link is down, and whatever is set in tier.Local.WhenDown happens;
// when all are back, L1 starts empty. An invalidation that cannot be read, a reply out of step or
// a change of a cluster's topology do the same.
//
// # A server that only says OK
//
// Some proxies say OK to CLIENT TRACKING and pass no push: pings are answered, and L1 would be old for
// as long as its TTL lets it. So each new connection writes a key that it tracks (SET ns!probe:...),
// and counts as up when the push has come. If it has not come within half of DeadAfter, though pings
// are answered, Watch returns [ErrNoPush]. This costs a write and a round trip or two for each
// connection to each master; every other listener of the namespace gets two messages, at the write
// and at its expiry a second later, and ignores them.
//
// Where the server does not take the write there is no probe: without the right to it (the server's
// ACL LOG then names the SET), on a replica, without room, on a node of a cluster that has (nearly)
// no slots. What says OK and pushes nothing then looks healthy, and L1 is old for Local.TTL.
//
// # Keys of its own
//
//   - ns!probe: and something random: see above. For one second.
//   - ns!flush: written by PublishFlush, the time in nanoseconds. Whoever writes or deletes it makes
//     every L1 of the namespace start empty. It is one for a namespace and has no lifetime: its expiry
//     would be one more flush. So is its eviction.
//
// Neither can be a key of a cache with that namespace, since its keys go on with ':'. Without a
// Namespace they are !probe:... and !flush. Both begin with KeyPrefix.
//
// # What it does not see
//
//   - SWAPDB: the server says nothing. Call PublishFlush afterwards.
//   - Keys outside the prefix; DEL of a key that is not there (nothing changed).
//   - The database number: a write to the same key in another database is a needless
//     invalidation.
//   - Keys that the server does not hold: removing what is not there changes nothing. So L1 keeps
//     nothing that the remote tier has not taken.
//   - On a master that joined a cluster less than Refresh (1 s) ago, if New was given another client
//     than the store, or if it is among the client's Addrs. Other new nodes are not read past us: L1
//     is passed by from the client's first word with one until it is heard. Masters without slots are
//     listened to as well, since a slot that moves is read and written before it is assigned.
//
// # Reads from replicas
//
// The masters tell. A client that reads from replicas (ReadOnly, RouteByLatency, RouteRandomly) may
// read the old value after the news and put it into L1, and no more news comes: L1 is then old for
// tier.Local.TTL, not for as long as the replica lags. Give the cache a client that reads from masters.
//
// # Echo
//
// Own writes come back as well: the server mutes them only for the connection that made them,
// which is never this one. hearth has changed L1 by then, so the echo costs one read from the
// remote tier for each own write or fill of a key, and nothing is ever served wrongly. An echo
// cannot be told from the news that somebody else wrote right after us (the server merges both
// into one message), so it is not suppressed.
//
// # Rights
//
// A server or proxy that does not do this, or a user who may not ask for it, makes Watch return
// an error that [errors.Is] backends.ErrUnsupported and names the command; package firstof then
// goes on with another source, and Health names the reason. The least rights of the listener and of the cache's own client,
// for namespace "user":
//
//	ACL SETUSER cache on >secret resetchannels resetkeys ~user:* ~{user:* ~user!* -@all
//	    +get +set +del +mget +pttl +evalsha +eval +exists +getrange +pexpire +persist +incrby
//	    +ping +client|tracking
//
// and +client|setinfo from Redis 7.2 on. On a Cluster, on all of its nodes, besides
//
//	+cluster|slots +cluster|nodes +asking
//
// (the client asks for the slots whatever else it may do, and says ASKING while a slot moves).
// ~{user:* is for the side keys of package redis, ~user!* for Clear, tags, PublishFlush and the probe.
// No channel is needed. With a KeyPrefix the patterns have it before user. A user of its own who only listens needs
//
//	ACL SETUSER ear on >secret resetchannels resetkeys -@all +ping +client|tracking
//
// and ~user!probe:* +set if it is to be probed; on a Cluster +cluster|slots +cluster|nodes.
package tracking
