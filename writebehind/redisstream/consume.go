package redisstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/redis/go-redis/v9"
)

var (
	// acquire takes a partition that nobody owns, or tells that it is ours already.
	acquire = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1 end
return 0`)

	release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

	// claim gives the owner what others had read and not settled, and how often that was tried.
	claim = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('NOTOWNER') end
local got = redis.call('XAUTOCLAIM', KEYS[1], ARGV[2], ARGV[1], 0, ARGV[3], 'COUNT', ARGV[4])
local out = {got[1]}
for _, e in ipairs(got[2]) do
  local p = redis.call('XPENDING', KEYS[1], ARGV[2], e[1], e[1], 1)
  local f = {}
  for i = 1, #e[2], 2 do f[e[2][i]] = e[2][i + 1] end
  out[#out + 1] = {e[1], f.k or '', f.r or '', p[1] and p[1][4] or 1}
end
if got[1] == '0-0' then
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[2])) do
    if c[2] ~= ARGV[1] and c[4] == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[2], c[2]) end
  end
end
return out`)

	// read gives the owner what nobody has read.
	read = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('NOTOWNER') end
local got = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[1], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
local out = {''}
if got then
  for _, e in ipairs(got[1][2]) do
    local f = {}
    for i = 1, #e[2], 2 do f[e[2][i]] = e[2][i + 1] end
    out[#out + 1] = {e[1], f.k or '', f.r or '', 1}
  end
end
return out`)
)

// owner is a lease on one partition.
type owner struct {
	ctx    context.Context
	cancel context.CancelFunc
	expire *time.Timer
}

// Context implements writebehind.Owner.
func (o *owner) Context() context.Context { return o.ctx }

// Consume implements writebehind.Shared: it tries for every partition that is free, and reads
// those that it gets.
func (j *Journal) Consume(ctx context.Context, deliver func(writebehind.Delivery)) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	var wg sync.WaitGroup
	for p := range j.cfg.Partitions {
		wg.Go(func() {
			for ctx.Err() == nil {
				j.own(ctx, p, deliver)
				select {
				case <-ctx.Done():
				case <-time.After(j.cfg.Lease / 3):
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// own holds partition p as long as it can, if it is free.
func (j *Journal) own(ctx context.Context, p int, deliver func(writebehind.Delivery)) {
	asked := time.Now()
	if !j.hold(ctx, p) {
		return
	}
	o := &owner{}
	o.ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer o.cancel()
	o.expire = time.AfterFunc(j.validity(asked), o.cancel)
	defer o.expire.Stop()

	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, o.cancel)
	defer stop()
	wg.Go(func() { j.renew(o, p) })
	wg.Go(func() {
		defer o.cancel()
		j.readAll(o, p, deliver)
	})
	wg.Wait()

	if ctx.Err() == nil {
		// Something went wrong, and a sink may still be at work: nobody else is to start before
		// the lease has run out. This process may take it again at once.
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.cfg.Lease/3)
	defer cancel()
	release.Run(ctx, j.cfg.Client, []string{j.owner(p)}, j.token)
}

// hold takes or keeps the lease.
func (j *Journal) hold(ctx context.Context, p int) bool {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Lease/3)
	defer cancel()
	n, err := acquire.Run(ctx, j.cfg.Client, []string{j.owner(p)}, j.token, j.cfg.Lease.Milliseconds()).Int()
	return err == nil && n == 1
}

// validity is how long this process may rely on a lease that it asked for then: a tenth less
// than the server keeps it, for clocks that run at different speeds.
func (j *Journal) validity(asked time.Time) time.Duration {
	return j.cfg.Lease - j.cfg.Lease/10 - time.Since(asked)
}

func (j *Journal) renew(o *owner, p int) {
	tick := time.NewTicker(j.cfg.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-o.ctx.Done():
			return
		}
		if asked := time.Now(); j.hold(o.ctx, p) && o.expire.Stop() {
			o.expire.Reset(j.validity(asked))
		}
	}
}

// readAll delivers what a predecessor left, then what comes.
func (j *Journal) readAll(o *owner, p int, deliver func(writebehind.Delivery)) {
	keys := []string{j.stream(p), j.owner(p)}
	last := "0-0"
	for from := "0-0"; ; {
		next, msgs, err := j.fetch(o, claim, keys, j.token, group, from, page)
		if err != nil {
			return
		}
		last = j.hand(o, p, msgs, last, deliver)
		if from = next; from == "0-0" {
			break
		}
	}
	for o.ctx.Err() == nil {
		_, msgs, err := j.fetch(o, read, keys, j.token, group, page)
		if err != nil {
			return
		}
		last = j.hand(o, p, msgs, last, deliver)
		if len(msgs) < page {
			j.await(o, p, last, len(msgs))
		}
	}
}

// The first record of a portion waits for others: each read costs the server a write to its log,
// and, where that is synced always, a sync that everybody there waits for. The queue lingers longer
// than gather anyway; a stream on which much comes may wait up to gatherMost.
const (
	gather     = 5 * time.Millisecond
	gatherMost = 50 * time.Millisecond
	gatherStep = 16 // records in the last portion that are worth another gather
)

// await pauses until the next read. After an empty one it first blocks until something follows
// the last record, or a while.
func (j *Journal) await(o *owner, p int, last string, got int) {
	pause := min(gather*time.Duration(1+got/gatherStep), gatherMost)
	if got == 0 {
		err := j.cfg.Client.XRead(o.ctx, &redis.XReadArgs{
			Streams: []string{j.stream(p), last}, Count: 1, Block: j.cfg.Lease / 4,
		}).Err()
		switch {
		case errors.Is(err, redis.Nil):
			return
		case err != nil:
			pause = j.cfg.Lease / 20
		}
	}
	select {
	case <-o.ctx.Done():
	case <-time.After(pause):
	}
}

type message struct {
	id, key, record string
	deliveries      int64
}

func (j *Journal) fetch(o *owner, script *redis.Script, keys []string, args ...any) (next string, msgs []message, err error) {
	ctx, cancel := context.WithTimeout(o.ctx, j.cfg.Lease/2)
	defer cancel()
	out, err := script.Run(ctx, j.cfg.Client, keys, args...).Slice()
	if err != nil || len(out) == 0 {
		return "", nil, fmt.Errorf("writebehind/redisstream: read: %w", err)
	}
	next, _ = out[0].(string)
	for _, e := range out[1:] {
		f, _ := e.([]any)
		if len(f) != 4 {
			continue
		}
		var m message
		m.id, _ = f[0].(string)
		m.key, _ = f[1].(string)
		m.record, _ = f[2].(string)
		m.deliveries, _ = f[3].(int64)
		msgs = append(msgs, m)
	}
	return next, msgs, nil
}

// hand delivers msgs and returns the id of the last. An entry that is no record is delivered as
// Unreadable, for the queue to make a dead letter of it.
func (j *Journal) hand(o *owner, p int, msgs []message, last string, deliver func(writebehind.Delivery)) string {
	d := writebehind.Delivery{Owner: o}
	for _, m := range msgs {
		last = m.id
		rec := j.parse(p, redis.XMessage{ID: m.id, Values: map[string]any{"k": m.key, "r": m.record}})
		if rec.Seq == 0 {
			continue // an id that this program never gives, and has no sequence for
		}
		rec.Attempts = int(m.deliveries) - 1
		d.Records = append(d.Records, rec)
	}
	if len(d.Records) > 0 && o.ctx.Err() == nil {
		deliver(d)
	}
	return last
}
