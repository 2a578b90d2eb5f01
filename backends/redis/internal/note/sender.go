package note

import (
	"context"
	"sync"
	"time"
)

// Sender numbers what this process has to say and hands it over in that order. While one batch
// is on its way, the next one gathers, so a burst becomes few messages and a lone change is sent
// at once, without a timer. Safe for concurrent use.
type Sender struct {
	Origin    Origin
	Namespace string
	Timeout   time.Duration // of one handing over

	// Send hands messages to the server, in order. The first error ends it.
	Send func(ctx context.Context, messages []string) error

	mu      sync.Mutex
	seq     uint64
	waiting *batch
	busy    bool
}

// batch is what goes out together.
type batch struct {
	keys []string
	all  bool
	done chan struct{}
	err  error // once done
}

// Keys says that keys changed. It returns when the server has the message, or with an error when
// it may not.
func (s *Sender) Keys(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.add(ctx, func(b *batch) { b.keys = append(b.keys, keys...) })
}

// All says "forget everything".
func (s *Sender) All(ctx context.Context) error {
	return s.add(ctx, func(b *batch) { b.all = true })
}

// add puts something into the batch that goes out next and waits for it.
func (s *Sender) add(ctx context.Context, put func(*batch)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = &batch{done: make(chan struct{})}
	}
	b := s.waiting
	put(b)
	if !s.busy {
		s.busy = true
		go s.work(context.WithoutCancel(ctx)) // others wait for it too, so it outlives this caller
	}
	s.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work sends batches until none is waiting.
func (s *Sender) work(ctx context.Context) {
	for {
		s.mu.Lock()
		b := s.waiting
		s.waiting = nil
		if b == nil {
			s.busy = false
			s.mu.Unlock()
			return
		}
		messages := s.encode(b)
		s.mu.Unlock()
		send, cancel := context.WithTimeout(ctx, s.Timeout)
		b.err = s.Send(send, messages)
		cancel()
		close(b.done)
	}
}

// encode numbers b's messages. A number is used up even if sending fails: the receivers then see
// a gap, and flush.
func (s *Sender) encode(b *batch) []string {
	lists, ok := Split(b.keys)
	if b.all || !ok {
		return []string{s.next(All, nil)}
	}
	messages := make([]string, len(lists))
	for i, keys := range lists {
		messages[i] = s.next(Keys, keys)
	}
	return messages
}

func (s *Sender) next(kind Kind, keys []string) string {
	s.seq++
	return string(Append(nil, Note{Kind: kind, Origin: s.Origin, Seq: s.seq, Namespace: s.Namespace, Keys: keys}))
}

// Tail returns a message that repeats the last number; ok is false if there is none yet, or while
// its message may still be on its way.
func (s *Sender) Tail() (message string, seq uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := Note{Kind: Tail, Origin: s.Origin, Seq: s.seq, Namespace: s.Namespace}
	return string(Append(nil, n)), s.seq, s.seq > 0 && !s.busy
}
