package memcached

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/hearthcache/hearth/backends"
)

// metaTransport is the [transport] on connections of our own. One call has one connection for as
// long as it takes, which is what makes it obey its ctx without anybody watching; batches are
// pipelined on it, and many callers share a connection by gathering in batches (package coalesce).
type metaTransport struct{ *metaPool }

var _ transport = metaTransport{}

// meaning is what a status says in the words of [transport].
func meaning(status string) (answer, err error) {
	switch status {
	case "HD":
		return nil, nil
	case "NF", "EN":
		return backends.ErrMiss, nil
	case "EX":
		return backends.ErrConflict, nil
	case "NS":
		return backends.ErrExists, nil
	}
	return nil, fmt.Errorf("unexpected status %q", status)
}

func (m metaTransport) get(ctx context.Context, key string) (record, error) {
	l, err := m.enter(ctx)
	if err != nil {
		return record{}, err
	}
	defer m.leave(l)
	l.key1[0] = key
	l.job = job{kind: jobGet, keys: l.key1[:], out: l.out1[:]}
	l.askFor(key)
	if err := m.trip(ctx, l); err != nil {
		return record{}, err
	}
	if !l.out1[0].found {
		return record{}, backends.ErrMiss
	}
	return l.out1[0].record, nil
}

// change does the one change whose request is made by request.
func (m metaTransport) change(ctx context.Context, once bool, request func(out []byte) []byte) error {
	l, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer m.leave(l)
	l.job = job{kind: jobChange, once: once}
	l.out = request(l.out)
	if err := m.trip(ctx, l); err != nil {
		return err
	}
	answer, err := meaning(l.job.status)
	if err != nil {
		return failure(ctx, m.server, nil, err)
	}
	return answer
}

// appendSet appends an ms without its end of line.
func appendSet(b []byte, v verb, key string, r record, exp int32) []byte {
	b = append(append(append(b, "ms "...), key...), ' ')
	b = strconv.AppendInt(b, int64(len(r.value)), 10)
	b = strconv.AppendInt(append(b, " T"...), int64(exp), 10)
	b = strconv.AppendUint(append(b, " F"...), uint64(r.flags), 10)
	switch v {
	case add:
		b = append(b, " ME"...)
	case cas:
		b = strconv.AppendUint(append(b, " C"...), r.cas, 10)
	}
	return b
}

func appendValue(b, value []byte) []byte {
	return append(append(append(b, "\r\n"...), value...), "\r\n"...)
}

func (m metaTransport) store(ctx context.Context, v verb, key string, r record, exp int32) error {
	err := m.change(ctx, v != set, func(out []byte) []byte {
		return appendValue(appendSet(out, v, key, r, exp), r.value)
	})
	return m.stored(ctx, v, err)
}

// stored sees to it that only those verbs have answers that can.
func (m metaTransport) stored(ctx context.Context, v verb, err error) error {
	if v == set && err != nil && backends.IsAnswer(err) {
		return failure(ctx, m.server, nil, fmt.Errorf("a plain set was answered with %q", err))
	}
	return err
}

func (m metaTransport) remove(ctx context.Context, key string) error {
	return m.change(ctx, false, func(out []byte) []byte {
		return append(append(append(out, "md "...), key...), "\r\n"...)
	})
}

func (m metaTransport) touch(ctx context.Context, key string, exp int32) error {
	return m.change(ctx, false, func(out []byte) []byte {
		out = append(append(append(out, "mg "...), key...), " T"...)
		return append(strconv.AppendInt(out, int64(exp), 10), "\r\n"...)
	})
}

func (m metaTransport) count(ctx context.Context, key string, up bool, delta uint64) (uint64, error) {
	l, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer m.leave(l)
	l.job = job{kind: jobCount, once: true}
	mode := " MD v\r\n"
	if up {
		mode = " MI v\r\n"
	}
	l.out = append(append(append(l.out, "ma "...), key...), " D"...)
	l.out = append(strconv.AppendUint(l.out, delta, 10), mode...)
	if err := m.trip(ctx, l); err != nil {
		return 0, err
	}
	answer, err := meaning(l.job.status)
	if err != nil {
		return 0, failure(ctx, m.server, nil, err)
	}
	return l.job.number, answer
}

func (m metaTransport) ping(ctx context.Context) error {
	return m.quiet(ctx, false, nil, func([]byte, int) []byte { return nil })
}

// portion is how many bytes of quiet changes are sent before their outcome is asked for.
const portion = 256 << 10

// storeMany implements [bulk] with quiet ms.
func (m metaTransport) storeMany(ctx context.Context, v verb, keys []string, rs []record, exps []int32, errs []error) error {
	size := func(i int) int { return len(keys[i]) + len(rs[i].value) + 64 }
	for lo, hi := range portions(len(keys), portion, size) {
		part := errs[lo:hi]
		err := m.quiet(ctx, v != set, part, func(b []byte, i int) []byte {
			b = append(appendSet(b, v, keys[lo+i], rs[lo+i], exps[lo+i]), " q O"...)
			return appendValue(strconv.AppendInt(b, int64(i), 10), rs[lo+i].value)
		})
		for i := range part {
			part[i] = m.stored(ctx, v, part[i])
		}
		switch e := complained(err); {
		case e != nil && v == set:
			retry(part, func(i int) error { return m.store(ctx, v, keys[lo+i], rs[lo+i], exps[lo+i]) })
		case e != nil:
			fillIn(part, fmt.Errorf("%w: %v", backends.ErrUnknown, e))
		case err != nil:
			return fillIn(errs[lo:], err)
		}
	}
	return nil
}

// unlabelled is a complaint of which it is not known which of several changes it is about.
type unlabelled struct{ error }

// complained returns the complaint, if that is what err is: all changes are through then.
func complained(err error) error {
	var u *unlabelled
	if errors.As(err, &u) {
		return u.error
	}
	return nil
}

// retry does one by one what said nothing: any of it may be what the server complained about.
func retry(errs []error, again func(i int) error) {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = again(i)
		}
	}
}

// removeMany implements [bulk] with quiet md.
func (m metaTransport) removeMany(ctx context.Context, keys []string, errs []error) error {
	for lo, hi := range portions(len(keys), portion, func(i int) int { return len(keys[i]) + 16 }) {
		err := m.quiet(ctx, false, errs[lo:hi], func(b []byte, i int) []byte {
			b = append(append(append(b, "md "...), keys[lo+i]...), " q O"...)
			return append(strconv.AppendInt(b, int64(i), 10), "\r\n"...)
		})
		if complained(err) != nil {
			retry(errs[lo:hi], func(i int) error { return m.remove(ctx, keys[lo+i]) })
			continue
		}
		if err != nil {
			return fillIn(errs[lo:], err)
		}
	}
	return nil
}

// fillIn gives err to all that have none, and returns it.
func fillIn(errs []error, err error) error {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return err
}

// portions cuts n requests into runs [lo, hi) of at most limit bytes.
func portions(n, limit int, size func(i int) int) func(yield func(lo, hi int) bool) {
	return func(yield func(lo, hi int) bool) {
		for lo := 0; lo < n; {
			hi, bytes := lo+1, size(lo)
			for hi < n && hi-lo < chunk && bytes+size(hi) <= limit {
				bytes += size(hi)
				hi++
			}
			if !yield(lo, hi) {
				return
			}
			lo = hi
		}
	}
}

// quiet sends requests that only speak up when there is something to say, and asks behind them
// whether all are through. Of a complaint it is not known which request it is about: the error is
// then [unlabelled], and any that said nothing may have failed.
func (m metaTransport) quiet(ctx context.Context, once bool, errs []error, request func(b []byte, i int) []byte) error {
	l, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer m.leave(l)
	l.job = job{kind: jobQuiet, once: once, errs: errs}
	for i := range errs {
		l.out = request(l.out, i)
	}
	l.out = append(l.out, "mn\r\n"...)
	if err := m.trip(ctx, l); err != nil {
		return err
	}
	switch err := l.job.all; {
	case err == nil:
		return nil
	case len(errs) == 0:
		return err
	case len(errs) == 1:
		errs[0] = err // it can be about nothing else
		return nil
	default:
		return &unlabelled{err}
	}
}
