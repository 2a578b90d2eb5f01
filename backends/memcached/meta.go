package memcached

import (
	"bufio"
	"context"
	"errors"
	"net"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// metaPool has connections of our own to one server, on which the meta protocol is spoken
// (memcached 1.6 and later). It does what the text protocol cannot say (a value with its remaining
// lifetime) for every Store, and everything for one whose Transport is [Meta].
type metaPool struct {
	server string
	pool   *pool[*metaLane]
	slack  time.Duration // for a stretch of replies; <= 0: as long as the ctx allows

	fragile bool // tests only: trust idle connections, and never send anything again
}

// metaLane is one connection, its buffers, and the job that it does now.
type metaLane struct {
	lane
	c    net.Conn // nil: to be opened
	r    *bufio.Reader
	out  []byte // requests to be sent
	slab []byte // room for small values of the batch that is being read
	job  job
	key1 [1]string // room for the jobs of one key
	out1 [1]reply
}

// job is what is sent together, and what came back so far. Replies come in the order of the
// requests.
type job struct {
	kind jobKind
	once bool // must not be sent twice

	keys []string // asked for
	out  []reply
	done int // replies that are complete

	status string // of one change: its two letters
	number uint64 // of a count

	errs []error // of quiet changes
	all  error   // a complaint about one of them, it is not known which
}

type jobKind uint8

const (
	jobGet    jobKind = iota // mg each
	jobGets                  // one gets
	jobChange                // one ms, md or mg T
	jobCount                 // one ma
	jobQuiet                 // quiet ms or md, and mn
)

const (
	// keptBuffer is how large a buffer for requests may stay with an idle connection.
	keptBuffer = 64 << 10

	// reader is how much is read at once: the small values of most batches, for what go-redis
	// spends on a connection as well.
	reader = 32 << 10
)

func newMetaPool(c *Config, s Server) *metaPool {
	dial := c.dialer(s.Addr)
	build := func() *metaLane {
		l := new(metaLane)
		l.init(dial)
		return l
	}
	return &metaPool{server: s.Name, slack: c.Timeout, pool: newPool(c, build, (*metaLane).drop)}
}

func (m *metaPool) close() { m.pool.close() }

// drop closes the connection; the lane opens another when it is used.
func (l *metaLane) drop() {
	if l.c != nil {
		l.c.Close()
		l.c = nil
	}
}

// enter takes a lane for the caller alone, who fills in its job and its requests, calls trip, and
// leaves.
func (m *metaPool) enter(ctx context.Context) (*metaLane, error) {
	if err := ended(ctx); err != nil {
		return nil, failure(ctx, m.server, backends.ErrUnavailable, err)
	}
	l, err := m.pool.take(ctx)
	if err != nil {
		return nil, failure(ctx, m.server, nil, err)
	}
	l.begin(ctx)
	l.out = l.out[:0]
	return l, nil
}

func (m *metaPool) leave(l *metaLane) {
	l.end()
	l.job, l.key1, l.out1, l.slab = job{}, [1]string{}, [1]reply{}, nil
	if cap(l.out) > keptBuffer {
		l.out = nil
	}
	m.pool.put(l)
}

// trip sends the requests and reads the replies. Its error says why not all came.
func (m *metaPool) trip(ctx context.Context, l *metaLane) error {
	j := &l.job
	if j.once && !m.fragile && l.c != nil && !alive(l.conn) {
		l.drop()
		m.pool.drain()
	}
	pooled := l.c != nil
	err := m.exchange(l)
	if err != nil && !j.once && !m.fragile && j.done == 0 && pooled && stale(err) && ctx.Err() == nil {
		l.drop()
		m.pool.drain()
		err = m.exchange(l)
	}
	if err == nil {
		return nil
	}
	l.drop() // it may be out of step
	var complained *ReplyError
	switch {
	case errors.As(err, &complained):
		return err
	case !l.wrote:
		return failure(ctx, m.server, backends.ErrUnavailable, err)
	case j.once:
		return failure(ctx, m.server, backends.ErrUnknown, err)
	}
	return failure(ctx, m.server, nil, err)
}

func (m *metaPool) exchange(l *metaLane) (err error) {
	if l.c == nil {
		if l.c, err = l.open(); err != nil {
			l.c = nil // not a nil *laneConn in an interface
			return err
		}
		l.r = bufio.NewReaderSize(l.c, reader)
	}
	clear(l.job.errs)
	l.job.all = nil
	m.extend(l)
	if _, err := l.c.Write(l.out); err != nil {
		return err
	}
	return m.read(l)
}

// extend gives the server time for the next replies; the lane sees to the ctx.
func (m *metaPool) extend(l *metaLane) {
	var until time.Time
	if m.slack > 0 {
		until = time.Now().Add(m.slack)
	}
	l.c.SetDeadline(until)
}

// getTTL asks for keys and puts what is there into out, each with its remaining lifetime. The
// error is for all keys whose reply did not come; n replies did.
func (m *metaPool) getTTL(ctx context.Context, keys []string, out []reply) (n int, err error) {
	l, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer m.leave(l)
	l.job = job{kind: jobGet, keys: keys, out: out}
	for _, k := range keys {
		l.askFor(k)
	}
	err = m.trip(ctx, l)
	return l.job.done, err
}

// askFor adds a request for all that there is to know about k. The reply names the key, so that
// no value is ever taken for another's.
func (l *metaLane) askFor(k string) {
	l.out = append(append(append(l.out, "mg "...), k...), " v k f c t\r\n"...)
}
