// Package tier is the cache a service talks to: typed values in an L1 of this process, over any
// number of remote tiers, in front of a source of record.
//
//	users, err := tier.New(tier.Config[User]{
//		Namespace: "user",
//		Remotes:   []tier.Remote{{Name: "redis", Store: store}},
//		Loader:    tier.LoaderFunc[User](loadUser),
//		TTL:       10 * time.Minute,
//		Fresh:     time.Minute,
//	})
//	u, err := users.Get(ctx, "42")
//
// # Reading
//
// [Cache.Get] answers from L1, else from the nearest remote tier that has the key, else from the
// [Loader]. However many callers want a key at a time, one flight per process asks the tiers,
// and a lease in the farthest tier sees to it that one process loads. What was loaded is stored
// far to near and in L1, each time only if nobody has written or deleted the key meanwhile.
//
// A value is fresh, then stale, then gone ([Config].Fresh and TTL). A stale value is served at
// once while one flight refreshes it, and goes on being served if the source fails. Refreshes
// begin a little before the fresh time ends, by chance, so that no reader waits for one.
//
// A miss is an answer ([ErrMiss]: the record does not exist, or there is no loader); a failure
// is no answer. A tier that fails is passed over as long as somebody else can answer.
//
// # Writing
//
// [Cache.Set] and [Cache.Delete] pass the [Writer], if there is one, and then change the tiers
// from the source outwards: the farthest first, this process's L1 last, then other processes'
// L1. A tier that cannot be reached owes the change: it is retried, and the tier is not read for
// that key until then ([ErrQueued]).
//
// Where the application writes the source by itself, it calls [Cache.Invalidate] after the
// commit, not before.
//
// A value that is computed from the old one is written with [Cache.Update], by compare-and-swap at
// the farthest tier, and a number is counted with [Cache.Increment]: whatever others do at the same
// time, no change is lost. Both say applied, conflict or unknown, and never send a change twice
// without having looked for the first one.
//
// # What is promised
//
// After Delete, Invalidate or Set returned nil, no read that starts later gets an older value
// from a remote tier in any process, nor from L1 in this one. L1 of other processes follow at
// the speed of [Local].Invalidator, and without one within [Local].TTL. This is a regular
// register, not a linearizable one: while a write is under way a reader may see the new value
// and then the old one.
package tier
