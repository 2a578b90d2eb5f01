package writebehind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeadLetter is an operation that the sink would not take.
type DeadLetter[V any] struct {
	Op     Op[V] // without Value, where Raw could not be decoded
	Reason string
	Died   time.Time
	Raw    []byte // what the journal keeps of the value or delta; nil without a journal
}

type letter[V any] struct {
	op     *op[V]
	broken bool // the value cannot be decoded
	reason string
	died   time.Time

	of *letter[V] // in a copy: the letter itself
}

// copied is d as it is now: whoever redrives it changes its operation. The caller holds mu.
func (d *letter[V]) copied() *letter[V] {
	o, c := *d.op, *d
	c.op, c.of = &o, d
	return &c
}

// park makes a dead letter of o. The caller holds mu.
func (w *Writer[V]) park(o *op[V], err error, now time.Time) {
	w.unlink(o)
	w.stats.dead++
	w.bury(w.deadRecord(o, err.Error(), now))
	w.forget(o.stale...)
	if w.shared == nil {
		w.keepLetter(&letter[V]{op: o, reason: err.Error(), died: now})
	}
	end := &DeadError{Key: o.Key, Reason: err.Error()}
	for _, a := range o.acks {
		a.resolve(end)
	}
	for _, ref := range append(o.stale, o.ref()) {
		w.keepPromise(ref, end)
	}
	o.acks, o.stale = nil, nil
}

func (w *Writer[V]) deadRecord(o *op[V], reason string, died time.Time) Record {
	rec := record(o)
	rec.Dead, rec.Died = reason, died
	if rec.Dead == "" {
		rec.Dead = "unknown"
	}
	return rec
}

func (w *Writer[V]) keepLetter(d *letter[V]) {
	ref := d.op.ref()
	w.dead[ref] = d
	w.deadKeys[ref.Key] = append(w.deadKeys[ref.Key], ref)
}

func (w *Writer[V]) dropLetter(ref Ref) {
	delete(w.dead, ref)
	rest := slices.DeleteFunc(w.deadKeys[ref.Key], func(r Ref) bool { return r == ref })
	if len(rest) == 0 {
		delete(w.deadKeys, ref.Key)
		return
	}
	w.deadKeys[ref.Key] = rest
}

// voidLetters drops the dead states of a key that a newer state has made meaningless. Deltas
// stay: only the application knows what they are worth.
func (w *Writer[V]) voidLetters(o *op[V]) {
	for _, ref := range slices.Clone(w.deadKeys[o.Key]) {
		if d := w.dead[ref]; d.op.state() && d.op.Seq < o.Seq {
			w.dropLetter(ref)
			w.forget(ref)
			w.stats.coalesced++
		}
	}
}

// DeadLetters lists the dead letters, oldest first. With a shared journal it asks the journal,
// for those of all processes.
func (w *Writer[V]) DeadLetters(ctx context.Context) ([]DeadLetter[V], error) {
	letters, err := w.letters(ctx, nil)
	out := make([]DeadLetter[V], len(letters))
	for i, d := range letters {
		out[i] = DeadLetter[V]{Op: d.op.Op, Reason: d.reason, Died: d.died, Raw: d.op.payload}
	}
	return out, err
}

// Redrive gives the dead letters of keys, or all without keys, to the sink again, with the same
// Op.ID and a first Attempt, and returns how many. A letter whose value still cannot be decoded
// stays, and is part of the error.
//
// A letter goes before what has been accepted for its key since and waits, with its old Seq: a
// sink that stores only what is newer skips it if it has taken something newer of the key, so
// deltas are better told apart by ID. A shared journal appends it, with a new Seq, behind what
// waits, and drops a state for which a newer one waits.
//
// One commit of the journal turns a dead letter into an operation that waits. After a crash it is
// the one or the other, never lost: what waits is delivered by the next start. When the error is
// tier.ErrUnknown it may be either too, and Redrive may be called again.
func (w *Writer[V]) Redrive(ctx context.Context, keys ...string) (int, error) {
	w.start()
	letters, err := w.letters(ctx, keys)
	if err != nil {
		return 0, err
	}
	var errs []error
	letters = slices.DeleteFunc(letters, func(d *letter[V]) bool {
		if d.broken {
			errs = append(errs, fmt.Errorf("writebehind: redrive %q: not decodable", d.op.Key))
		}
		return d.broken
	})
	if w.cfg.Journal != nil && len(letters) > 0 {
		s := &submission[V]{done: make(chan error, 1)}
		for _, d := range letters {
			rec := record(d.op)
			rec.Attempts = 0
			s.tx.Put = append(s.tx.Put, rec)
		}
		if err := w.submit(ctx, s); err != nil {
			return 0, errors.Join(append(errs, err)...)
		}
	}
	if w.shared != nil {
		return len(letters), errors.Join(errs...)
	}
	n := 0
	w.mu.Lock()
	for i := len(letters) - 1; i >= 0; i-- {
		o := letters[i].of.op
		if w.dead[o.ref()] != letters[i].of {
			continue // a newer write, or another Redrive, was quicker, and answers for the record
		}
		w.dropLetter(o.ref())
		o.Attempt, o.pauses, o.failures, o.limit, o.retryAt = 0, 0, 0, 0, time.Time{}
		o.reserved = true
		w.entries++
		w.bytes += o.size
		w.relink(o)
		n++
	}
	w.mu.Unlock()
	w.nudge()
	return n, errors.Join(errs...)
}

// Discard removes the dead letters of keys, or all without keys, for good, and returns how many.
// One that is redriven at the same moment may reach the sink all the same, and does not count.
func (w *Writer[V]) Discard(ctx context.Context, keys ...string) (int, error) {
	letters, err := w.letters(ctx, keys)
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	if w.cfg.Journal != nil {
		s := &submission[V]{done: make(chan error, 1)}
		for _, d := range letters {
			s.tx.Remove = append(s.tx.Remove, d.op.ref())
		}
		if err := w.submit(ctx, s); err != nil {
			return 0, err
		}
	}
	if w.shared != nil {
		return len(letters), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, d := range letters {
		if w.dead[d.op.ref()] == d.of {
			w.dropLetter(d.op.ref())
			n++
		}
	}
	return n, nil
}

// letters returns copies of the dead letters of keys, or all, in order of Seq.
func (w *Writer[V]) letters(ctx context.Context, keys []string) ([]*letter[V], error) {
	var out []*letter[V]
	if w.isClosed() {
		return nil, ErrClosed
	}
	if w.shared != nil {
		err := w.shared.Replay(ctx, func(rec Record) error {
			if rec.Dead != "" && (len(keys) == 0 || slices.Contains(keys, rec.Key)) {
				o, err := w.fromRecord(rec)
				o.Seq = rec.Seq
				out = append(out, &letter[V]{op: o, broken: err != nil, reason: rec.Dead, died: rec.Died})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	} else {
		w.mu.RLock()
		for _, d := range w.dead {
			if len(keys) == 0 || slices.Contains(keys, d.op.Key) {
				out = append(out, d.copied())
			}
		}
		w.mu.RUnlock()
	}
	slices.SortFunc(out, func(a, b *letter[V]) int {
		if a.op.Seq < b.op.Seq {
			return -1
		}
		return 1
	})
	return out, nil
}

func (w *Writer[V]) isClosed() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.closed
}
