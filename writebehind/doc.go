// Package writebehind accepts writes at once and applies them to the source of record later, in
// batches, without losing one.
//
// A [Writer] is a tier.Deferred: hand it to a cache as its writer, and Set and Delete return as
// soon as the write is in the journal, while reads of this process see it at once. It can be
// used alone as well, with [Writer.Enqueue]:
//
//	journal, err := bolt.Open(bolt.Config{Path: "/var/lib/app/writes.db"})
//	w, err := writebehind.New(writebehind.Config[User]{Sink: sink, Journal: journal})
//	defer w.Close(ctx)
//	err = w.Write(ctx, []tier.Mutation[User]{{Key: "user:1", Value: u}})
//
// # What is promised
//
// The journal names the durability of an accepted write:
//
//	Memory   no Journal           lost with the process
//	Journal  writebehind/bolt     survives kill -9, and power loss as far as the disk does
//	Stream   writebehind/redisstream  survives this machine; another process goes on
//
// Delivery is at least once: after a crash or a lost answer an operation may come again, with
// the same [Op] ID and Seq, so that a sink can store if newer, or remember ids. Nothing accepted
// is dropped in silence: an operation ends as applied, replaced by a newer one, expired (its own
// TTL, counted), a dead letter (kept in the journal), or in the [DrainError] of Close.
//
// Mutations of a key coalesce: the newest wins, and how long it may linger counts from the first
// one that is not applied. Deltas ([Change]) never coalesce. Within a key everything is applied
// in the order it was accepted, deletes included, one at a time; between keys there is no order.
//
// # When the sink fails
//
// A failed batch is tried again in halves at once, so that a record at fault ends up alone and
// the others are through. What fails alone waits for a random part of a pause that doubles from
// 50 ms to 30 s, in batches of its own. After Config.MaxAttempts, or an error marked by
// [Permanent], it becomes a dead letter, to be listed, redriven or discarded. A newer write of
// its key still flows, and a newer mutation makes a dead one void. An outage parks nothing, however
// often processes and leases come and go in it. In a shared journal, a record that was handed to 20
// processes none of which settled it is tried alone from then on, after Config.RetryMax, when the
// others are through: should it be what kills them, it holds up nobody, and a sink can tell by
// Op.Attempt and refuse it with [Permanent].
//
// What a journal cannot read is a dead letter too, with its bytes in DeadLetter.Raw.
//
// # When the queue is full
//
// Entries, bytes, and the journal's own size are bounded. [Block] makes writers wait, [Reject]
// refuses, [WriteThrough] applies to the sink while the caller waits, which needs a journal that is
// [Counted] (bolt is; a shared one cannot be written around). A failing disk refuses
// writes: what was not confirmed was not accepted.
//
// # Reads
//
// [Writer.Pending] shows what is accepted until the sink has it and the function given to
// OnApplied has returned, so that caches change in between and no read of this process goes back
// to the older record. Other processes see the write when it has been applied.
package writebehind
