package redisstream

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/redis/go-redis/v9"
)

// page is how many records are asked for at a time: at 1 KiB each, half a megabyte.
const page = 500

// Replay implements writebehind.Journal: what waits, partition by partition, then the dead
// letters.
func (j *Journal) Replay(ctx context.Context, fn func(writebehind.Record) error) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	for p := range j.cfg.Partitions {
		if err := j.scan(ctx, p, j.stream(p), fn); err != nil {
			return err
		}
	}
	return j.scan(ctx, -1, j.key("dead"), fn)
}

func (j *Journal) scan(ctx context.Context, p int, stream string, fn func(writebehind.Record) error) error {
	for from := "-"; ; {
		msgs, err := j.cfg.Client.XRangeN(ctx, stream, from, "+", page).Result()
		if err != nil {
			return fmt.Errorf("writebehind/redisstream: %w", err)
		}
		for _, m := range msgs {
			if err := fn(j.parse(p, m)); err != nil {
				return err
			}
			from = "(" + m.ID
		}
		if len(msgs) < page {
			return nil
		}
	}
}

// parse reads an entry of partition p, or with -1 of the dead letters, which name the partition and
// the id they had. An entry that is no record, or one of a newer version of this program, comes
// back as Unreadable with its bytes: it is to stop nobody from reading the others.
func (j *Journal) parse(p int, m redis.XMessage) writebehind.Record {
	id, dead := m.ID, p < 0
	if dead {
		n, _ := strconv.Atoi(field(m, "p"))
		p = min(max(n, 1), j.cfg.Partitions) - 1
		if was := field(m, "i"); was != "" {
			id = was
		}
	}
	raw := []byte(field(m, "r"))
	seq, bad := seqOf(id)
	var rec writebehind.Record
	err := rec.UnmarshalBinary(raw)
	switch {
	case err == nil && bad == nil && j.partition(rec.Key) == p:
		rec.Seq = seq
		return rec
	case err == nil && bad != nil:
		err = bad
	case err == nil:
		err = fmt.Errorf("key %q is not of partition %d", rec.Key, p)
	}
	rec = writebehind.Record{Seq: seq, Key: j.keyOf(p, m), Kind: writebehind.Unreadable, Value: raw}
	if dead {
		rec.Dead = "not readable: " + err.Error()
	}
	return rec
}

// keyOf is the key that an entry without a readable record is listed under: the one beside the
// record, or one made up that belongs to the same partition, so that it can be removed from there.
func (j *Journal) keyOf(p int, m redis.XMessage) string {
	key := field(m, "k")
	for n := 0; key == "" || j.partition(key) != p; n++ {
		key = fmt.Sprintf("unreadable entry %s (%d)", m.ID, n)
	}
	return key
}

func field(m redis.XMessage, name string) string {
	s, _ := m.Values[name].(string)
	return s
}

// Fates implements writebehind.Shared in one round trip.
func (j *Journal) Fates(ctx context.Context, refs []writebehind.Ref) ([]writebehind.Fate, error) {
	if j.closed.Load() {
		return nil, tier.ErrClosed
	}
	waiting := make([]*redis.XMessageSliceCmd, len(refs))
	parked := make([]*redis.BoolCmd, len(refs))
	// A transaction: between the two questions a record could move from the one to the other.
	_, err := j.cfg.Client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, ref := range refs {
			p, id := j.partition(ref.Key), idOf(ref.Seq)
			waiting[i] = pipe.XRange(ctx, j.stream(p), id, id)
			parked[i] = pipe.HExists(ctx, j.key("dead:index"), strconv.Itoa(p+1)+"/"+id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writebehind/redisstream: %w", err)
	}
	fates := make([]writebehind.Fate, len(refs))
	for i := range refs {
		switch {
		case len(waiting[i].Val()) > 0:
			fates[i] = writebehind.Waiting
		case parked[i].Val():
			fates[i] = writebehind.Parked
		default:
			fates[i] = writebehind.Settled
		}
	}
	return fates, nil
}
