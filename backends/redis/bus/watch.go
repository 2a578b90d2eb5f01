package bus

import (
	"context"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
)

// Watch implements [backends.Invalidator]. Besides ctx's error it returns one that [errors.Is]
// [backends.ErrUnsupported] when the server refuses the subscription.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	w := &watch{Source: s, board: link.NewBoard(sink, s.talk.Timing.DeadAfter)}
	w.ledger.Blind = s.blind
	w.board.Add(theLine)
	ctx, cancel := context.WithCancel(ctx)
	var tails sync.WaitGroup
	defer tails.Wait()
	defer cancel()
	tails.Go(func() { s.tail(ctx) })
	return s.talk.Watch(ctx, w.listen, func(err error) { w.board.Down(theLine, err) })
}

// watch is one run of Watch. Its fields belong to the goroutine that receives.
type watch struct {
	*Source
	board  *link.Board
	ledger note.Ledger
}

// theLine is the only line on the board.
const theLine = "bus"

// listen keeps one connection for as long as it lasts.
func (w *watch) listen(ctx context.Context) (worked bool, err error) {
	node, err := w.talk.Node(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel(nil)
	follower.Go(func() { cancel(w.talk.Follow(ctx, node)) })
	err = link.Line{
		Node:     node,
		Timing:   w.talk.Timing,
		Channels: []string{w.talk.Place},
		Sharded:  w.sharded,
		Up:       func() { worked = true; w.board.Up(theLine) },
		Heard:    func() { w.board.Heard(theLine) },
		Message: func(payload string) error {
			w.talk.Hear(w.board, payload, w.ledger.Gap)
			return nil
		},
	}.Run(ctx)
	return worked, link.Refusal(err)
}

// tails is how often the last number is repeated, so that its loss is seen.
const tails = 3

// tail repeats the last number after something was sent, until a few tails have got through.
func (s *Source) tail(ctx context.Context) {
	tick := time.NewTicker(s.talk.Timing.Ping)
	defer tick.Stop()
	var last uint64
	left := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		message, seq, ok := s.talk.Sender.Tail()
		if seq != last {
			last, left = seq, tails
		}
		if !ok || left == 0 {
			continue
		}
		send, cancel := context.WithTimeout(ctx, s.talk.Timeout)
		if s.send(send, []string{message}) == nil {
			left--
		}
		cancel()
	}
}
