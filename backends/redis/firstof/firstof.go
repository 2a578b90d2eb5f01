// Package firstof listens to the first of several sources of invalidations that the servers let
// it listen to, and says why when that is not the best one.
//
//	source, err := firstof.New(firstof.Config{Sources: []backends.Invalidator{tracking, bus}})
//
// A user without the right to CLIENT TRACKING, or a proxy that does not know it or only says OK to it,
// is no reason to do without an L1: the processes can still tell each other. What is lost is named by Degraded.
package firstof

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/iface"
)

// Config are the settings of a [Source].
type Config struct {
	// Sources, the best one first. At least one.
	Sources []backends.Invalidator

	// Recheck is how often a better source that was refused is tried again. 0 = 1 minute.
	Recheck time.Duration
}

// Source is a [backends.Invalidator] made of others. Safe for concurrent use, but for Watch,
// which may run once at a time.
type Source struct {
	cfg Config

	mu      sync.Mutex
	current int     // index of the source in use; len(Sources): none
	refused []error // why the ones before it are not in use
}

var (
	_ backends.Invalidator = (*Source)(nil)
	_ backends.StoredOnly  = (*Source)(nil)
	_ backends.Selective   = (*Source)(nil)
	_ backends.Paced       = (*Source)(nil)
	_ backends.Fitting     = (*Source)(nil)
	_ backends.Several     = (*Source)(nil)
)

// New returns a source that uses the first of cfg.Sources that works.
func New(cfg Config) (*Source, error) {
	if len(cfg.Sources) == 0 {
		return nil, errors.New("firstof: no sources")
	}
	for i, s := range cfg.Sources {
		if iface.IsNil(s) {
			return nil, fmt.Errorf("firstof: source %d is nil", i)
		}
	}
	switch {
	case cfg.Recheck < 0:
		return nil, fmt.Errorf("firstof: Recheck %v is negative", cfg.Recheck)
	case cfg.Recheck == 0:
		cfg.Recheck = time.Minute
	}
	return &Source{cfg: cfg, refused: make([]error, len(cfg.Sources))}, nil
}

// Watch listens to the best source that does not answer [backends.ErrUnsupported]. When none is
// left the link stays down, and all are tried again every Recheck.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	for i := 0; ; {
		s.fall(i)
		if i == len(s.cfg.Sources) {
			sink.Down(errors.Join(s.refused...))
			if err := pause(ctx, s.cfg.Recheck); err != nil {
				return err
			}
			i = 0
			continue
		}
		err := s.listen(ctx, i, &inUse{Sink: sink, s: s, i: i})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errBetter):
			sink.Down(errBetter) // nobody listens until it is connected
			i = 0
		case errors.Is(err, backends.ErrUnsupported):
			s.refuse(i, err)
			i++
			sink.Down(fmt.Errorf("degraded: %w", err))
		case err == nil:
			return fmt.Errorf("firstof: %s ended without an error", name(s.cfg.Sources[i]))
		default:
			return err
		}
	}
}

// errBetter ends a source because a better one works again.
var errBetter = errors.New("a better source works again")

// listen runs source i until it ends or a better one works.
func (s *Source) listen(ctx context.Context, i int, sink backends.Sink) error {
	if i == 0 {
		return s.cfg.Sources[0].Watch(ctx, sink)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tried sync.WaitGroup
	defer tried.Wait()
	defer cancel(nil)
	tried.Go(func() {
		for pause(ctx, s.cfg.Recheck) == nil {
			for _, better := range s.cfg.Sources[:i] {
				if works(ctx, better) {
					cancel(errBetter)
					return
				}
			}
		}
	})
	err := s.cfg.Sources[i].Watch(ctx, sink)
	if cause := context.Cause(ctx); errors.Is(cause, errBetter) {
		return cause
	}
	return err
}

// trial is how long a source may take to show that it works.
const trial = 10 * time.Second

// works reports whether a source gets its link up.
func works(ctx context.Context, s backends.Invalidator) bool {
	ctx, cancel := context.WithTimeout(ctx, trial)
	defer cancel()
	p := &probe{up: cancel}
	_ = s.Watch(ctx, p) // ends by p, by the refusal or by the time
	return p.alive
}

// probe is a sink that only wants to know whether the link gets up.
type probe struct {
	mu    sync.Mutex
	alive bool
	up    func()
}

func (p *probe) Forget([]string) {}
func (p *probe) Flush(string)    {}
func (p *probe) Down(error)      {}
func (p *probe) Alive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = true
	p.up()
}

// Publish tells others through every source at the same time, since they may not be able to listen
// to the one that this process uses. An error of any is returned: somebody may not have been told.
// So list only sources that every process may publish to. A cache asks for [Source.Publishers] instead
// and repeats by itself what failed. One that does not answer, though everybody listens to another,
// makes every write an error (tier.ErrUntold); a cache waits for it three times and then no more.
func (s *Source) Publish(ctx context.Context, keys []string) error {
	return s.each(func(inv backends.Invalidator) error { return inv.Publish(ctx, keys) })
}

// PublishFlush is Publish for everything.
func (s *Source) PublishFlush(ctx context.Context) error {
	return s.each(func(inv backends.Invalidator) error { return inv.PublishFlush(ctx) })
}

// Publishers implements [backends.Several]: the sources, and what they publish through themselves.
func (s *Source) Publishers() []backends.Invalidator {
	var out []backends.Invalidator
	for _, inv := range s.cfg.Sources {
		if more, ok := inv.(backends.Several); ok {
			out = append(out, more.Publishers()...)
		} else {
			out = append(out, inv)
		}
	}
	return out
}

func (s *Source) each(do func(backends.Invalidator) error) error {
	errs := make([]error, len(s.cfg.Sources))
	var others sync.WaitGroup
	for i, inv := range s.cfg.Sources[1:] {
		others.Go(func() { errs[i+1] = do(inv) })
	}
	errs[0] = do(s.cfg.Sources[0])
	others.Wait()
	return errors.Join(errs...)
}

// Degraded says which source is in use and why no better one is; "" while the best one is.
func (s *Source) Degraded() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == 0 {
		return ""
	}
	var b strings.Builder
	if s.current < len(s.cfg.Sources) {
		fmt.Fprintf(&b, "using %s", name(s.cfg.Sources[s.current]))
	} else {
		b.WriteString("using none")
	}
	for i := range s.current {
		fmt.Fprintf(&b, "; not %s: %v", name(s.cfg.Sources[i]), s.refused[i])
	}
	return b.String()
}

// StoredOnly implements [backends.StoredOnly] for the source in use.
func (s *Source) StoredOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == len(s.cfg.Sources) {
		return false
	}
	o, ok := s.cfg.Sources[s.current].(backends.StoredOnly)
	return ok && o.StoredOnly()
}

// Hears implements [backends.Selective]: whether every source hears of namespace, since any may
// come into use.
func (s *Source) Hears(namespace string) bool {
	for _, inv := range s.cfg.Sources {
		if sel, ok := inv.(backends.Selective); ok && !sel.Hears(namespace) {
			return false
		}
	}
	return true
}

// Fits implements [backends.Fitting]: every source has to fit, since any may come into use.
func (s *Source) Fits(remotes []backends.Caps) error {
	for _, inv := range s.cfg.Sources {
		if err := backends.Fits(inv, remotes); err != nil {
			return fmt.Errorf("%s: %w", name(inv), err)
		}
	}
	return nil
}

// Pace implements [backends.Paced] for the slowest source, since any may come into use. Those that
// do not say count as zero.
func (s *Source) Pace() time.Duration {
	var slowest time.Duration
	for _, inv := range s.cfg.Sources {
		if p, ok := inv.(backends.Paced); ok {
			slowest = max(slowest, p.Pace())
		}
	}
	return slowest
}

// String names the source in use.
func (s *Source) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == len(s.cfg.Sources) {
		return "none"
	}
	return name(s.cfg.Sources[s.current])
}

func name(inv backends.Invalidator) string {
	if n, ok := inv.(fmt.Stringer); ok {
		return n.String()
	}
	return fmt.Sprintf("%T", inv)
}

// inUse is the sink of source i, which is in use once it is alive.
type inUse struct {
	backends.Sink
	s *Source
	i int
}

// Alive implements [backends.Sink].
func (u *inUse) Alive() {
	u.s.use(u.i)
	u.Sink.Alive()
}

// fall notes that no source before i can be used. One that is tried again is not in use before it
// works.
func (s *Source) fall(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = max(s.current, i)
}

func (s *Source) use(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = i
}

func (s *Source) refuse(i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[i] = err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
