package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
)

// Watch implements [backends.Invalidator]. Besides ctx's error it returns one that [errors.Is]
// [backends.ErrUnsupported] when the server refuses the subscription.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	if s.watching.Swap(true) {
		return errors.New("bus: Watch runs already")
	}
	defer s.watching.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	tailed := make(chan struct{})
	go func() {
		defer close(tailed)
		s.tail(ctx)
	}()
	defer func() {
		cancel()
		<-tailed
	}()
	w := &watch{Source: s, board: link.NewBoard(sink, s.timing.DeadAfter)}
	w.ledger.Blind = s.blind
	return w.run(ctx)
}

// watch is one run of Watch. Its fields belong to the goroutine that receives.
type watch struct {
	*Source
	board  *link.Board
	ledger note.Ledger
}

// theLine is the only line on the board.
const theLine = "bus"

func (w *watch) run(ctx context.Context) error {
	w.board.Add(theLine)
	err := link.Retry(ctx, w.listen, func(err error) {
		w.board.Down(theLine, err)
		if c, ok := w.client.(*goredis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
	})
	if link.Refused(err) {
		return fmt.Errorf("bus: %w", err)
	}
	return err
}

// listen keeps one connection for as long as it lasts.
func (w *watch) listen(ctx context.Context) (worked bool, err error) {
	ask, cancel := context.WithTimeout(ctx, w.timing.DeadAfter)
	defer cancel()
	node, err := link.NodeOf(ask, w.client, w.cfg.Channel)
	if err != nil {
		return false, err
	}
	err = link.Line{
		Node:     node,
		Timing:   w.timing,
		Channels: []string{w.cfg.Channel},
		Sharded:  w.cfg.Sharded,
		Up:       func() { worked = true; w.board.Up(theLine) },
		Heard:    func() { w.board.Heard(theLine) },
		Message:  w.hear,
	}.Run(ctx)
	return worked, link.Refusal(err)
}

// hear takes one message. One that cannot be read may have said anything.
func (w *watch) hear(payload string) error {
	n, err := note.Parse(payload)
	switch {
	case err != nil:
		w.board.Flush(err.Error())
	case n.Origin == w.sender.Origin, n.Namespace != w.cfg.Namespace:
	case w.ledger.Gap(n):
		w.board.Flush("a message was missed")
	case n.Kind == note.All:
		w.board.Flush("another process asked for it")
	case n.Kind == note.Keys:
		w.board.Forget(n.Keys)
	}
	return nil
}

// tails is how often the last number is repeated, so that its loss is seen.
const tails = 3

// tail repeats the last number for a few pings after something was sent.
func (s *Source) tail(ctx context.Context) {
	tick := time.NewTicker(s.timing.Ping)
	defer tick.Stop()
	var last uint64
	left := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		message, seq, ok := s.sender.Tail()
		if seq != last {
			last, left = seq, tails
		}
		if !ok || left == 0 {
			continue
		}
		left--
		send, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		_ = s.send(send, []string{message}) // a lost tail is as if it had not been sent
		cancel()
	}
}
