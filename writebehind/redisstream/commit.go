package redisstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/redis/go-redis/v9"
)

// Commit implements writebehind.Journal with one script.
func (j *Journal) Commit(ctx context.Context, tx *writebehind.Tx) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	if err := ctx.Err(); err != nil || len(tx.Put)+len(tx.Remove) == 0 {
		return err
	}
	keys := []string{j.key("dead"), j.key("dead:index"), j.key("dead:newest")}
	for p := range j.cfg.Partitions {
		keys = append(keys, j.stream(p))
	}
	for p := range j.cfg.Partitions {
		keys = append(keys, j.owner(p))
	}
	token := j.token
	if j.unfenced {
		token = ""
	}
	args := append(make([]any, 0, 3+6*len(tx.Put)+5*len(tx.Remove)), group, token, j.cfg.MaxLen)
	for i := range tx.Put {
		r := &tx.Put[i]
		rec, _ := r.AppendBinary(nil)
		p, state := j.partition(r.Key)+1, flag(r.Kind == writebehind.Set || r.Kind == writebehind.Delete)
		switch {
		case r.Seq == 0:
			args = append(args, "A", p, r.Key, state, rec)
		case r.Dead != "":
			args = append(args, "P", p, idOf(r.Seq), r.Key, state, rec)
		default:
			args = append(args, "R", p, idOf(r.Seq), r.Key, state, rec)
		}
	}
	for _, ref := range tx.Remove {
		args = append(args, "D", j.partition(ref.Key)+1, idOf(ref.Seq), ref.Key, flag(ref.State))
	}
	ids, err := j.runOnce(ctx, keys, args).StringSlice()
	if err != nil {
		return j.commitError(err)
	}
	if len(ids) != len(tx.Put) {
		return fmt.Errorf("writebehind/redisstream: %d ids for %d records", len(ids), len(tx.Put))
	}
	for i, id := range ids {
		if tx.Put[i].Seq, err = seqOf(id); err != nil {
			return err
		}
	}
	return nil
}

// once is a command that the client must not send again when its answer is lost: its records
// would be there twice, the second time perhaps after newer ones. A client with MaxRetries -1
// would not; a cluster client would whatever its settings are.
type once struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// Clone implements redis.Cmder.
func (o once) Clone() redis.Cmder { return once{o.Cmd.Clone().(*redis.Cmd)} }

// runOnce runs the commit at most once. A server that does not have it says so without doing
// anything, and is then sent the text.
func (j *Journal) runOnce(ctx context.Context, keys []string, args []any) *redis.Cmd {
	send := func(name, text string) *redis.Cmd {
		all := append(make([]any, 0, 3+len(keys)+len(args)), name, text, len(keys))
		for _, k := range keys {
			all = append(all, k)
		}
		cmd := redis.NewCmd(ctx, append(all, args...)...)
		cmd.SetFirstKeyPos(3)
		_ = j.cfg.Client.Process(ctx, once{cmd}) // cmd has the error, when it is there
		return cmd
	}
	cmd := send("evalsha", commit.Hash())
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = send("eval", commitText)
	}
	return cmd
}

// commitError tells what the server refused from what it may have done.
func (j *Journal) commitError(err error) error {
	var answer redis.Error
	switch {
	case errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "FULL"):
		return fmt.Errorf("%w: queue %q has %d records in a partition", writebehind.ErrFull, j.cfg.Name, j.cfg.MaxLen)
	case errors.As(err, &answer):
		return fmt.Errorf("writebehind/redisstream: queue %q: %w", j.cfg.Name, err)
	}
	return fmt.Errorf("writebehind/redisstream: queue %q: %w: %w", j.cfg.Name, tier.ErrUnknown, err)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
