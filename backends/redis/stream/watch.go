package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
)

// Watch implements [backends.Invalidator]. Besides ctx's error it returns one that [errors.Is]
// [backends.ErrUnsupported] when the server refuses a command.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	w := &watch{Source: s, board: link.NewBoard(sink, s.talk.Timing.DeadAfter), heard: time.Now()}
	w.board.Add(theLine)
	return s.talk.Watch(ctx, w.follow, func(err error) {
		// Until then the log may be reached again in time, and nothing is lost.
		if link.Refused(err) || !w.up || time.Since(w.heard) >= s.talk.Timing.DeadAfter {
			w.up = false
			w.board.Down(theLine, err)
		}
	})
}

// theLine is the only line on the board.
const theLine = "stream"

// watch is one run of Watch, in one goroutine.
type watch struct {
	*Source
	board  *link.Board
	up     bool      // the sink knows that the link is up
	heard  time.Time // when the log was reached last
	behind bool      // more entries may wait than were read the last time
	last   id        // the last entry that was read; zero before the first
	met    bool      // this connection's server is known to be the one that last is of
	run    string    // the run of that server; "" if it does not say

	ledger note.Ledger // of the senders since last was zero
}

// batch is how many entries are read at once.
const batch = 256

// follow reads the log over one connection for as long as it lasts.
func (w *watch) follow(ctx context.Context) (worked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	node, err := w.talk.Node(ctx)
	if err != nil {
		return false, err
	}
	c := goredis.NewClient(link.Dedicated(ctx, node, w.talk.Timing))
	defer c.Close()
	w.met = false
	for {
		if err := w.turn(ctx, c); err != nil {
			return worked, link.Refusal(err)
		}
		worked = true
	}
}

// turn reads once. What was read is forgotten before anything is doubted, and the link counts as
// up, or as heard from, only when the place in the log is sure and is its end: a reader that lags
// knows nothing of now.
func (w *watch) turn(ctx context.Context, c *goredis.Client) error {
	left := w.talk.Timing.DeadAfter
	if w.up {
		left = max(left-time.Since(w.heard), w.talk.Timing.DeadAfter/10)
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if err := w.meet(ctx, c); err != nil {
		return because(err)
	}
	if w.last == (id{}) {
		if err := w.begin(ctx, c); err != nil {
			return because(err)
		}
	}
	was, wait := w.last, min(w.talk.Timing.Ping, left/2)
	if !w.up || w.behind {
		wait = time.Millisecond // there is nothing to wait for yet; zero would mean for ever
	}
	all, err := w.read(ctx, c, wait)
	if err != nil {
		return because(err)
	}
	sure, err := w.reachesBack(ctx, c, was)
	if err != nil {
		return because(err)
	}
	w.heard, w.behind = time.Now(), !all
	switch {
	case !sure:
		w.last = id{} // begin anew; flushed by it
	case w.behind: // what was said just now is behind what waits still
	case !w.up:
		w.up = true
		w.board.Up(theLine)
	default:
		w.board.Heard(theLine)
	}
	return nil
}

// meet gives the place in the log up if this connection's server is not the one that it was found on,
// or does not say. Another one, and the same one started again, may have lost the end of the log, of
// which we may not have read all: then nothing would show it before its sender says the next thing.
func (w *watch) meet(ctx context.Context, c *goredis.Client) error {
	if w.met || w.blind {
		return nil
	}
	run, err := runOf(ctx, c)
	if err != nil {
		return err
	}
	if run == "" || run != w.run {
		w.last = id{}
	}
	w.run, w.met = run, true
	return nil
}

// runOf returns the name of this run of a server, "" if it gives none or may not be asked.
func runOf(ctx context.Context, c *goredis.Client) (string, error) {
	info, err := c.Info(ctx, "server").Result()
	var reply goredis.Error
	if errors.As(err, &reply) {
		return "", nil
	}
	for line := range strings.Lines(info) {
		if run, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(run), nil
		}
	}
	return "", err
}

// begin takes a place at the end of the log: an entry of our own, that says nothing. What came
// before it is unknown.
func (w *watch) begin(ctx context.Context, c *goredis.Client) error {
	hello := string(note.Append(nil, note.Note{Kind: note.Tail, Origin: w.talk.Sender.Origin, Seq: 1, Namespace: w.talk.Sender.Namespace}))
	s, err := c.XAdd(ctx, w.entry(hello)).Result()
	if err != nil {
		return err
	}
	if w.last, err = parseID(s); err != nil {
		return err
	}
	w.ledger = note.Ledger{Blind: w.blind}
	if w.up { // else coming up flushes
		w.board.Flush("the log was joined at its end")
	}
	return nil
}

// read takes what has come since the last entry, and waits for it. all is false if more may be there.
func (w *watch) read(ctx context.Context, c *goredis.Client, wait time.Duration) (all bool, err error) {
	streams, err := c.XRead(ctx, &goredis.XReadArgs{
		Streams: []string{w.talk.Place, w.last.String()}, Count: batch, Block: wait,
	}).Result()
	if errors.Is(err, goredis.Nil) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	n := 0
	for _, st := range streams {
		n += len(st.Messages)
		for _, e := range st.Messages {
			if w.last, err = parseID(e.ID); err != nil {
				return false, err
			}
			text, _ := e.Values[field].(string)
			w.talk.Hear(w.board, text, w.ledger.Hole)
		}
	}
	return n < batch, nil
}

// reachesBack reports whether nothing was missed between was, where the last read began, and what
// it brought: the log still has an entry that is not newer than was, so none after it has been
// trimmed, and it does not end before what was read. An entry that was lost in another way, and others
// came after, shows in the numbers of the senders.
func (w *watch) reachesBack(ctx context.Context, c *goredis.Client, was id) (bool, error) {
	if w.blind {
		return true, nil
	}
	var oldest, newest *goredis.XMessageSliceCmd
	_, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
		oldest = p.XRangeN(ctx, w.talk.Place, "-", "+", 1)
		newest = p.XRevRangeN(ctx, w.talk.Place, "+", "-", 1)
		return nil
	})
	if err != nil {
		return false, err
	}
	first, last := oldest.Val(), newest.Val()
	if len(first) == 0 || len(last) == 0 {
		return false, nil
	}
	from, err := parseID(first[0].ID)
	if err != nil {
		return false, err
	}
	to, err := parseID(last[0].ID)
	return from.compare(was) <= 0 && to.compare(w.last) >= 0, err
}

// because names silence as the reason where it was.
func because(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w (%w)", link.ErrSilent, err)
	}
	return err
}
