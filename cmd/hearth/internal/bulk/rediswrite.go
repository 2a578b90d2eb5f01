package bulk

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/internal/wire"
)

// storable settles the records that Redis cannot hold or that have ended, and returns the others
// with what is left of their lifetimes.
func (e *redisEnd) storable(recs []*Record) (open []*Record, ttls []time.Duration) {
	now := time.Now()
	for _, r := range recs {
		ttl, alive := r.left(now)
		switch {
		case r.Fate != Pending:
			continue
		case !alive:
			r.Fate = Expired
			continue
		case len(r.Value) > redisMaxValue:
			r.Fate = TooLarge
			continue
		}
		r.lost = r.Flags != 0
		open = append(open, r)
		ttls = append(ttls, (ttl+time.Millisecond-1)/time.Millisecond*time.Millisecond)
	}
	return open, ttls
}

func (e *redisEnd) write(ctx context.Context, recs []*Record, overwrite bool) error {
	open, ttls := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for i, r := range open {
		if overwrite {
			pipe.Set(ctx, r.Key, r.Value, ttls[i])
			continue
		}
		pipe.SetNX(ctx, r.Key, r.Value, ttls[i])
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if c, ok := cmd.(*redis.BoolCmd); ok && !c.Val() {
			open[i].Fate = Exists
		}
	})
}

func (e *redisEnd) look(ctx context.Context, recs []*Record) error {
	open, _ := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for _, r := range open {
		pipe.Exists(ctx, r.Key)
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if cmd.(*redis.IntCmd).Val() > 0 {
			open[i].Fate = Exists
		}
	})
}

func (e *redisEnd) claim(ctx context.Context, recs []*Record, hold time.Duration) error {
	open := pending(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for _, r := range open {
		r.token = wire.NewLease()
		pipe.SetNX(ctx, r.Key, r.token, hold)
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		if !cmd.(*redis.BoolCmd).Val() {
			open[i].Fate = Exists
		}
	})
}

const (
	fillSource = `if redis.call('GET',KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET',KEYS[1],ARGV[2]) else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end
return 1`
	// A value that cannot be a placeholder is not sent back to be compared: it may be large.
	removeSource = `if redis.call('TYPE',KEYS[1]).ok ~= 'string' then return redis.call('EXISTS',KEYS[1]) == 0 and 1 or 0 end
local n,head = redis.call('STRLEN',KEYS[1]),redis.call('GETRANGE',KEYS[1],0,1)
for i=1,#ARGV,2 do if n == tonumber(ARGV[i+1]) and head == ARGV[i] then return 0 end end
redis.call('UNLINK',KEYS[1])
return 1`
	releaseSource = `if redis.call('GET',KEYS[1]) == ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0`
)

var fillHash, releaseHash, removeHash = redis.NewScript(fillSource).Hash(), redis.NewScript(releaseSource).Hash(), redis.NewScript(removeSource).Hash()

func (e *redisEnd) fill(ctx context.Context, recs []*Record) error {
	open, ttls := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	if err := e.loadScripts(ctx); err != nil {
		return err
	}
	pipe := e.client.Pipeline()
	for i, r := range open {
		pipe.EvalSha(ctx, fillHash, []string{r.Key}, r.token, r.Value, ttls[i].Milliseconds())
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if n, _ := cmd.(*redis.Cmd).Int(); n == 0 {
			open[i].Fate = Changed
		}
	})
}

func (e *redisEnd) release(ctx context.Context, recs []*Record) error {
	if len(recs) == 0 {
		return nil
	}
	if err := e.loadScripts(ctx); err != nil {
		return err
	}
	pipe := e.client.Pipeline()
	for _, r := range recs {
		pipe.EvalSha(ctx, releaseHash, []string{r.Key}, r.token)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (e *redisEnd) remove(ctx context.Context, _ int, recs []*Record) error {
	open := pending(recs)
	if len(open) == 0 {
		return nil
	}
	if err := e.loadScripts(ctx); err != nil {
		return err
	}
	lease := string([]byte{wire.Magic, byte(wire.Lease)})
	tombstone := string([]byte{wire.Magic, byte(wire.Tombstone)})
	pipe := e.client.Pipeline()
	for _, r := range open {
		pipe.EvalSha(ctx, removeHash, []string{r.Listed}, lease, wire.LeaseLen, tombstone, wire.TombstoneLen)
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Expired
		if n, _ := cmd.(*redis.Cmd).Int(); n == 0 {
			open[i].Fate = Changed
		}
	})
}

// loadScripts makes sure that every master knows the scripts: it costs one round trip a batch,
// and a restarted server has forgotten them.
func (e *redisEnd) loadScripts(ctx context.Context) error {
	load := func(ctx context.Context, c *redis.Client) error {
		pipe := c.Pipeline()
		pipe.ScriptLoad(ctx, fillSource)
		pipe.ScriptLoad(ctx, releaseSource)
		pipe.ScriptLoad(ctx, removeSource)
		_, err := pipe.Exec(ctx)
		return err
	}
	if e.one != nil {
		return load(ctx, e.one)
	}
	return e.client.(*redis.ClusterClient).ForEachMaster(ctx, load)
}

// settle runs a pipeline with one command per record. What a server says about one key is that
// record's failure; what it says about itself, or not at all, is the batch's.
func settle(ctx context.Context, pipe redis.Pipeliner, recs []*Record, done func(i int, cmd redis.Cmder)) error {
	cmds, err := pipe.Exec(ctx)
	if len(cmds) != len(recs) {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !ofKey(err) {
			return err
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			recs[i].fail(err)
			continue
		}
		done(i, cmd)
	}
	return nil
}

// ofKey reports whether err is an answer that concerns one command alone.
func ofKey(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, state := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOAUTH", "BUSY", "NOSCRIPT", "EXECABORT"} {
		if redis.HasErrorPrefix(err, state) {
			return false
		}
	}
	return true
}
