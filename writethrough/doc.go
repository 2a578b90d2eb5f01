// Package writethrough puts a source of record behind a cache: every Set and Delete reaches the
// source first, and only then the cache.
//
//	w, err := writethrough.New(writethrough.Config[User]{
//		Sink: writethrough.SinkFunc[User](func(ctx context.Context, ms []tier.Mutation[User]) error {
//			return db.Apply(ctx, ms) // one transaction
//		}),
//	})
//	users, err := tier.New(tier.Config[User]{Writer: w, Loader: ..., Remotes: ...})
//	err = users.Set(ctx, "42", u)
//
// # Outcomes
//
// A write has one of four ends, and they call for different things:
//
//	nil              the source has it, and the cache agrees or is empty
//	ErrRefused       the source said no (a constraint, a stale version). Nothing has changed
//	ErrFailed        the source was not asked, or is sure not to have done it. Try again
//	tier.ErrUnknown  it was asked, and did not answer in time: it may have happened
//
// Unless the [Sink] says which (with [Refused] and [Failed], or Config.Classify), an error is
// unknown: the cache then forgets the key, which costs one load; taking a write for undone that
// was done would leave the old value in the cache.
//
// # Racing writers
//
// Two processes that write the source and then the cache can do so in different orders, and the
// cache keeps the loser's value until it expires. So the cache takes a lease over the key before
// it calls the Writer, and stores the new value only if that lease still stands: of two writers
// that overlap, at most one finds it so, and it is one whose write no other followed. Readers
// meanwhile miss, and wait for the value or load it. A tier whose store has no such leases is made
// to forget the key instead.
//
// A process that dies after the source has committed, before it told the cache, leaves at worst
// the value of another writer that overlapped with it; it lives for its TTL. Alone, it leaves
// nothing: its lease runs out.
//
// # Protection of the source
//
// Every call has a deadline. A breaker stops asking a source that does not answer, so that callers
// get [ErrFailed] at once and the source gets a pause; what it has refused is an answer. With
// Config.MaxBatch, writes that come while another one is under way are handed over together in
// the next call.
package writethrough
