package writebehind

import (
	"fmt"
	"time"
)

// record is o as the journal keeps it.
func record[V any](o *op[V]) Record {
	rec := Record{
		Seq: o.rec, ID: o.ID, Key: o.Key, Kind: Set, Value: o.payload, Version: o.Version,
		Deadline: o.deadline, Enqueued: o.Enqueued, Attempts: o.Attempt,
	}
	switch {
	case o.broken:
		rec.Kind = Unreadable
	case o.Delta != nil:
		rec.Kind = Delta
	case o.Mutation.Delete:
		rec.Kind = Delete
	}
	return rec
}

// fromRecord is a stored record as an operation.
func (w *Writer[V]) fromRecord(rec Record) (*op[V], error) {
	var unreadable error
	if rec.Kind == Unreadable {
		var kept Record
		if unreadable = kept.UnmarshalBinary(rec.Value); unreadable == nil && kept.Key != rec.Key {
			unreadable = fmt.Errorf("a record of key %q", kept.Key)
		}
		if unreadable == nil {
			kept.Seq, kept.Dead, kept.Died = rec.Seq, rec.Dead, rec.Died
			return w.fromRecord(kept)
		}
	}
	o := &op[V]{
		rec: rec.Seq, payload: rec.Value, deadline: rec.Deadline, last: rec.Enqueued,
		size: int64(len(rec.Key) + len(rec.Value)),
	}
	o.Op = Op[V]{ID: rec.ID, Attempt: rec.Attempts, Enqueued: rec.Enqueued}
	o.Key, o.Version = rec.Key, rec.Version
	if !rec.Deadline.IsZero() {
		o.TTL = max(time.Until(rec.Deadline), 1)
	}
	var err error
	switch rec.Kind {
	case Unreadable:
		o.broken, err = true, unreadable
	case Delete:
		o.Mutation.Delete = true
	case Delta:
		o.Op.Delta = rec.Value
		if o.Op.Delta == nil {
			o.Op.Delta = []byte{}
		}
	default:
		o.Value, err = w.cfg.Codec.Decode(rec.Value)
	}
	return o, err
}

// restore queues a record found at the start.
func (w *Writer[V]) restore(rec Record) error {
	o, err := w.fromRecord(rec)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.replayed++
	if err != nil || rec.Dead != "" {
		w.number(o)
		reason, died := rec.Dead, rec.Died
		if reason == "" {
			reason, died = "not decodable: "+err.Error(), time.Now()
			rec.Dead, rec.Died = reason, died
			w.bury(rec)
		}
		w.keepLetter(&letter[V]{op: o, broken: err != nil, reason: reason, died: died})
		return nil
	}
	o.reserved = true
	w.entries++
	w.bytes += o.size
	w.link(o)
	return nil
}
