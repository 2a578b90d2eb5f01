package bulk

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/wire"
)

// storable settles the records that memcached cannot hold or that have ended.
func (s *memSession) storable(recs []*Record) []*Record {
	now := time.Now()
	for _, r := range recs {
		s.name(r)
		if r.Fate != Pending {
			continue
		}
		if _, alive := r.left(now); !alive {
			r.Fate = Expired
			continue
		}
		if len(packed(r)) > s.servers[s.layout.Owner(wireKey(r))].maxValue {
			r.Fate = TooLarge
		}
	}
	return pending(recs)
}

func packed(r *Record) []byte {
	if r.Hashed {
		return memcached.Pack(r.behind(), r.Value)
	}
	return r.Value
}

func (s *memSession) write(ctx context.Context, recs []*Record, overwrite bool) error {
	mode := " ME"
	if overwrite {
		mode = ""
	}
	now := time.Now()
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return appendSet(req, r, mode, now)
	}, func(r *Record, line []byte, _ *memConn) error { return stored(r, line, Exists) })
}

// appendSet appends "ms key size T<expiry> F<flags> <mode>" and the value.
func appendSet(req []byte, r *Record, mode string, now time.Time) []byte {
	value := packed(r)
	req = append(append(append(req, "ms "...), wireKey(r)...), ' ')
	req = strconv.AppendInt(req, int64(len(value)), 10)
	if !r.Deadline.IsZero() {
		req = strconv.AppendInt(append(req, " T"...), expiry(r, now), 10)
	}
	if r.Flags != 0 {
		req = strconv.AppendUint(append(req, " F"...), uint64(r.Flags), 10)
	}
	req = append(append(req, mode...), "\r\n"...)
	return append(append(req, value...), "\r\n"...)
}

// expiry returns the rest of a lifetime in seconds, to the nearest one: the server counts no less,
// and cuts the first one short, so that a copy ends within a second and a half of the original and
// outlives it by half a second at most. More than 30 days are a date, and end in 2038, with the
// server's 31 bits for them.
func expiry(r *Record, now time.Time) int64 {
	const month = 30 * 24 * 60 * 60
	left, _ := r.left(now)
	s := max(int64((left+time.Second/2)/time.Second), 1)
	if s > month {
		s = min(s+now.Unix(), math.MaxInt32)
	}
	return s
}

// stored reads the answer to a write; no is the fate of a record that was not stored.
func stored(r *Record, line []byte, no Fate) error {
	if len(line) < 2 {
		return fmt.Errorf("unexpected answer %.60q", line)
	}
	switch string(line[:2]) {
	case "HD":
		r.Fate = Copied
	case "NS", "EX", "NF":
		r.Fate = no
	default:
		return fmt.Errorf("unexpected answer %.60q", line)
	}
	return nil
}

func (s *memSession) look(ctx context.Context, recs []*Record) error {
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return append(append(append(req, "mg "...), wireKey(r)...), "\r\n"...)
	}, func(r *Record, line []byte, _ *memConn) error {
		r.Fate = Exists
		if bytes.HasPrefix(line, []byte("EN")) {
			r.Fate = Copied
		}
		return nil
	})
}

func (s *memSession) claim(ctx context.Context, recs []*Record, hold time.Duration) error {
	for _, r := range recs {
		s.name(r)
	}
	return s.each(ctx, pending(recs), func(req []byte, r *Record) []byte {
		r.token = wire.NewLease()
		req = append(append(append(req, "ms "...), wireKey(r)...), ' ')
		req = strconv.AppendInt(req, int64(len(r.token)), 10)
		req = strconv.AppendInt(append(req, " T"...), int64(hold/time.Second)+1, 10)
		return append(append(append(req, " ME c\r\n"...), r.token...), "\r\n"...)
	}, func(r *Record, line []byte, _ *memConn) error {
		id, mine := bytes.CutPrefix(line, []byte("HD c"))
		if !mine {
			r.Fate = Exists
			return nil
		}
		var err error
		r.cas, err = strconv.ParseUint(string(id), 10, 64)
		return err
	})
}

func (s *memSession) fill(ctx context.Context, recs []*Record) error {
	now := time.Now()
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return appendSet(req, r, " C"+strconv.FormatUint(r.cas, 10), now)
	}, func(r *Record, line []byte, _ *memConn) error { return stored(r, line, Changed) })
}

func (s *memSession) release(ctx context.Context, recs []*Record) error {
	return s.each(ctx, recs, func(req []byte, r *Record) []byte {
		req = append(append(append(req, "md "...), wireKey(r)...), " C"...)
		return append(strconv.AppendUint(req, r.cas, 10), "\r\n"...)
	}, func(*Record, []byte, *memConn) error { return nil })
}

func (s *memSession) remove(ctx context.Context, server int, recs []*Record) error {
	return s.pipeline(ctx, server, pending(recs), func(req []byte, r *Record) []byte {
		req = append(append(append(req, "md "...), r.Listed...), " C"...)
		return append(strconv.AppendUint(req, r.seen, 10), "\r\n"...)
	}, func(r *Record, line []byte, _ *memConn) error {
		if bytes.HasPrefix(line, []byte("NF")) { // also if the answer to a first attempt was lost
			r.Fate = Expired
			return nil
		}
		if err := stored(r, line, Changed); err != nil || r.Fate == Changed {
			return err
		}
		r.Fate = Expired
		return nil
	})
}
