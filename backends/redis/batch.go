package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// Batches are cut so that no single command occupies the server for long, nor a pipeline
// outlasts a write timeout of the 250 ms class on a slow link.
const (
	chunkKeys  = 500
	chunkBytes = 1 << 20
)

// GetMany implements [backends.Batcher]: MGET on one server, else a pipeline of GETs that the
// client splits by node. MGET reports a key of another type as absent; a lease on it is then
// refused with ErrWrongType, as is a read by Get.
func (s *Store) GetMany(ctx context.Context, keys []string) []backends.Result {
	if !s.multi || s.separate {
		return s.getPairs(ctx, keys, false)
	}
	out := make([]backends.Result, len(keys))
	s.GetManyInto(ctx, keys, out)
	return out
}

// GetManyInto is GetMany into out, which is as long as keys, and zero: for callers that read often
// and keep the room, such as package coalesce.
func (s *Store) GetManyInto(ctx context.Context, keys []string, out []backends.Result) {
	if !s.multi || s.separate {
		copy(out, s.getPairs(ctx, keys, false))
		return
	}
	for lo, hi := 0, 0; lo < len(keys); lo = hi {
		if hi = lo + 1; keys[lo] == "" {
			out[lo].Err = backends.ErrEmptyKey
			continue
		}
		for hi < len(keys) && hi-lo < chunkKeys && keys[hi] != "" {
			hi++
		}
		s.mget(ctx, keys[lo:hi], out[lo:hi])
	}
}

// mget reads keys by one MGET.
func (s *Store) mget(ctx context.Context, keys []string, out []backends.Result) {
	var vals []any
	err := ended(ctx)
	if err == nil {
		cmd := goredis.NewSliceCmd(ctx, mgetArgs(keys)...)
		_ = s.client.Process(ctx, cmd) // the command has the error
		vals, err = cmd.Result()
		err = failure(ctx, err)
	}
	if err == nil && len(vals) != len(keys) {
		err = fmt.Errorf("redis: MGET of %d keys answered with %d values", len(keys), len(vals))
	}
	for i := range keys {
		if out[i].Err = err; err == nil {
			out[i] = value(vals[i])
		}
	}
}

// value turns one value of an MGET into a result.
func value(v any) (r backends.Result) {
	switch v := v.(type) {
	case nil:
		r.Err = backends.ErrMiss
	case string:
		r.Item, r.Err = item(v)
	default:
		r.Err = fmt.Errorf("redis: MGET answered with a %T", v)
	}
	return r
}

// getPairs reads keys by pipelines, together with what is kept beside each: the lifetime if
// asked, and in Separate mode the mark.
func (s *Store) getPairs(ctx context.Context, keys []string, ttl bool) []backends.Result {
	out := make([]backends.Result, len(keys))
	start := 0
	for chunk := range slices.Chunk(keys, chunkKeys) {
		s.getChunk(ctx, chunk, out[start:start+len(chunk)], ttl)
		start += len(chunk)
	}
	return out
}

func (s *Store) getChunk(ctx context.Context, keys []string, out []backends.Result, ttl bool) {
	if err := ended(ctx); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return
	}
	pipe := s.client.Pipeline()
	gets := make([]*goredis.StringCmd, len(keys))
	var ttls, marks []*goredis.Cmd
	for i, k := range keys {
		if err := checkKey(ctx, k); err != nil {
			out[i].Err = err
			continue
		}
		gets[i] = pipe.Get(ctx, k)
		if ttl {
			if ttls == nil {
				ttls = make([]*goredis.Cmd, len(keys))
			}
			ttls[i] = pipe.Do(ctx, "pttl", k)
		}
		if s.separate {
			if marks == nil {
				marks = make([]*goredis.Cmd, len(keys))
			}
			marks[i] = pipe.Do(ctx, "get", SideKey(k))
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, g := range gets {
		if g == nil {
			continue
		}
		out[i].Item, out[i].Err = s.result(ctx, g)
		if ttls != nil && out[i].Err == nil {
			ms, err := ttls[i].Int64()
			if err != nil {
				out[i] = backends.Result{Err: failure(ctx, err)}
				continue
			}
			out[i] = lived(out[i], ms)
		}
		if marks != nil && errors.Is(g.Err(), goredis.Nil) {
			out[i].Err = beside(ctx, marks[i])
		}
	}
}

// beside says what kind of miss the mark beside an absent key makes.
func beside(ctx context.Context, mark *goredis.Cmd) error {
	v, err := mark.Text()
	if err != nil {
		return failure(ctx, err)
	}
	if _, err := item(v); err != nil {
		return err
	}
	return backends.ErrMiss
}

// SetMany implements [backends.Batcher] by pipelines. In Separate mode a value and the end of the
// lease beside it are one script each, or a transaction where scripts are refused.
func (s *Store) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	b := s.batch(ctx, len(entries))
	for i, e := range entries {
		if err := check(ctx, e.Key, e.Item); err != nil {
			b.errs[i] = err
			continue
		}
		if s.separate {
			b.script(i, len(e.Item.Value), scriptSet, s.keys(e.Key), e.Item.Value, millis(e.Item.TTL))
			continue
		}
		args := []any{"set", e.Key, e.Item.Value}
		if e.Item.TTL > 0 {
			args = append(args, "px", millis(e.Item.TTL))
		}
		b.command(i, len(e.Item.Value), args)
	}
	if !s.separate {
		return b.outcome(func(cmd *goredis.Cmd) error { return failure(ctx, cmd.Err()) })
	}
	b.exec()
	var again []queued
	for _, c := range b.cmds {
		if s.unscripted(c.cmd.Err()) {
			again = append(again, c)
			continue
		}
		b.errs[c.entry] = failure(ctx, c.cmd.Err())
	}
	s.setManyUnscripted(ctx, entries, again, b.errs)
	return someErrors(b.errs)
}

// DeleteMany implements [backends.Batcher]: DEL of many keys on one server, else a pipeline.
func (s *Store) DeleteMany(ctx context.Context, keys []string) []error {
	if s.multi {
		return s.deleteAtOnce(ctx, keys)
	}
	b := s.batch(ctx, len(keys))
	for i, k := range keys {
		if err := checkKey(ctx, k); err != nil {
			b.errs[i] = err
			continue
		}
		args := []any{"del"}
		for _, k := range s.keys(k) {
			args = append(args, k)
		}
		b.command(i, 0, args)
	}
	errs := b.outcome(func(cmd *goredis.Cmd) error { return failure(ctx, cmd.Err()) })
	if slices.ContainsFunc(errs, isUnpipelined) {
		return s.deleteAtOnce(ctx, keys)
	}
	return errs
}

// isUnpipelined reports whether err comes from a cluster client that splits DEL by node itself
// (ClusterClient.SetCommandInfoResolver), and then has no place for it in pipelines.
func isUnpipelined(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "redis: cannot pipeline command")
}

func (s *Store) deleteAtOnce(ctx context.Context, keys []string) []error {
	errs := make([]error, 0, len(keys))
	for chunk := range slices.Chunk(keys, chunkKeys) {
		del := make([]string, 0, len(chunk))
		for _, k := range chunk {
			if k != "" {
				del = append(del, s.keys(k)...)
			}
		}
		err := ended(ctx)
		if err == nil && len(del) > 0 {
			err = failure(ctx, s.client.Del(ctx, del...).Err())
		}
		for _, k := range chunk {
			if k == "" {
				errs = append(errs, backends.ErrEmptyKey)
				continue
			}
			errs = append(errs, err)
		}
	}
	return someErrors(errs)
}
