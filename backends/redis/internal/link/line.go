package link

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Line is one connection to one node, from dial to its end. Its functions are called from one
// goroutine, in the order in which the server sent what they report.
type Line struct {
	Node   *goredis.Options // how the user's client reaches the node; it is copied
	Timing Timing

	// Setup, if set, runs on the new connection before anything else. An error ends the line.
	Setup func(ctx context.Context, cn *goredis.Conn) error

	Channels []string // to subscribe to
	Sharded  bool     // with SSUBSCRIBE

	// Up says that the connection is set up and subscribed, and that it answers.
	Up func()
	// Heard says that the other side is alive. It comes at least once per ping.
	Heard func()
	// Push gets invalidation messages. An error ends the line, as does any other push message.
	Push func(frame []any) error
	// Message gets what was published to a channel. An error ends the line.
	Message func(payload string) error

	trusting bool // tests only: keep going as the client alone would
}

// Run dials, listens until something goes wrong or ctx ends, and returns what it was; never nil.
func (l Line) Run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	heard := newMark()
	c := goredis.NewClient(l.options(ctx, cancel, heard))
	ps := c.Subscribe(ctx)
	var tasks sync.WaitGroup
	defer func() {
		cancel(nil)
		_ = ps.Close()
		_ = c.Close()
		tasks.Wait()
	}()
	err := l.open(ctx, cancel, ps, heard, func() error {
		tasks.Go(func() { l.ping(ctx, cancel, ps, heard) })
		return l.receive(ctx, ps, heard)
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open subscribes within DeadAfter, then goes on with next.
func (l Line) open(ctx context.Context, cancel context.CancelCauseFunc, ps *goredis.PubSub, heard *mark, next func() error) error {
	slow := time.AfterFunc(l.Timing.DeadAfter, func() { cancel(fmt.Errorf("connect: %w", ErrSilent)) })
	defer slow.Stop()
	subscribe := ps.Subscribe
	if l.Sharded {
		subscribe = ps.SSubscribe
	}
	var err error
	if len(l.Channels) > 0 {
		err = subscribe(ctx, l.Channels...)
	} else {
		err = ps.Ping(ctx, "0") // a connection without a subscription is made by its first ping
	}
	if err != nil {
		return err
	}
	slow.Stop()
	heard.now()
	return next()
}

// ping asks for a sign of life again and again, and gives the connection up when there was none
// for too long. The numbers start over with each line.
func (l Line) ping(ctx context.Context, cancel context.CancelCauseFunc, ps *goredis.PubSub, heard *mark) {
	tick := time.NewTicker(l.Timing.Ping)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := ps.Ping(ctx, strconv.Itoa(n)); err != nil {
			cancel(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if d := heard.ago(); d >= l.Timing.DeadAfter {
			cancel(fmt.Errorf("%w for %v", ErrSilent, d.Round(time.Millisecond)))
			return
		}
	}
}

// receive hands on what arrives.
func (l Line) receive(ctx context.Context, ps *goredis.PubSub, heard *mark) (err error) {
	defer func() {
		if r := recover(); r != nil { // the client indexes into replies whose shape it has not checked
			err = fmt.Errorf("unreadable reply: %v", r)
		}
	}()
	up, next := false, 1
	if len(l.Channels) == 0 {
		next = 0
	}
	for {
		m, err := ps.Receive(ctx) // no timeout: one in mid-frame would lose the frame
		if err != nil {
			return err
		}
		heard.now()
		switch m := m.(type) {
		case *goredis.Subscription:
			if strings.HasSuffix(m.Kind, "unsubscribe") { // nobody here asks for it: the node has lost the slot
				return fmt.Errorf("the server has ended the subscription to %q", m.Channel)
			}
		case *goredis.Message:
			if l.Message == nil {
				return fmt.Errorf("unexpected message on channel %q", m.Channel)
			}
			if err := l.Message(m.Payload); err != nil {
				return err
			}
		case *goredis.Pong:
			if m.Payload != strconv.Itoa(next) && !l.trusting {
				return fmt.Errorf("the replies are out of step: pong %.20q, want %d", m.Payload, next)
			}
			next++
			if !up {
				up = true
				l.Up()
			}
			l.Heard()
		default:
			return fmt.Errorf("unexpected reply %T", m)
		}
	}
}

// options are those of the node, for a single connection that never comes back once it is gone.
func (l Line) options(ctx context.Context, cancel context.CancelCauseFunc, heard *mark) *goredis.Options {
	o := Dedicated(ctx, l.Node, l.Timing)
	if l.Setup != nil {
		o.OnConnect = l.Setup
	}
	if l.Push != nil {
		o.Protocol = 3
	}
	o.PushNotificationProcessor = takePushes(func(frame any, err error) {
		if ctx.Err() != nil {
			return // given up already; what is still in the buffer is covered by the flush
		}
		heard.now()
		if err := l.pushed(frame, err); err != nil {
			cancel(err) // the client would only log it
		}
	})
	return o
}

// mark is when something happened last. Its clock goes on while the process is paused.
type mark struct {
	base time.Time
	at   atomic.Int64
}

func newMark() *mark { return &mark{base: time.Now()} }

func (m *mark) now() { m.at.Store(int64(time.Since(m.base))) }

func (m *mark) ago() time.Duration { return time.Since(m.base) - time.Duration(m.at.Load()) }
