package memcached

import "context"

// asked is how many bytes of keys one gets may name: with the command they fit the 16 KiB that the
// server reads at once.
const asked = 15 << 10

// getMany asks by one gets of the text protocol, not by an mg for each key: of commands in a row
// the server carries out twenty (its -R), sends their replies and sees to its other connections,
// so that 64 keys are four sends and four wake-ups, at twice the processor time for each key (1.05
// to 1.5 us of the server's where gets needs 0.5 to 0.7). A
// gets of 64 keys is one command and one send. It does not tell lifetimes: getTTL does.
func (m metaTransport) getMany(ctx context.Context, keys []string, out []reply) error {
	for lo, hi := range portions(len(keys), asked, func(i int) int { return len(keys[i]) + 1 }) {
		if n, err := m.gets(ctx, keys[lo:hi], out[lo:hi]); err != nil {
			clear(out[lo+n:])
			return err
		}
	}
	return nil
}

// gets asks for keys and puts what is there into out. The error is for those of which nothing was
// said; n is how many come before them.
func (m *metaPool) gets(ctx context.Context, keys []string, out []reply) (n int, err error) {
	l, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer m.leave(l)
	l.job = job{kind: jobGets, keys: keys, out: out}
	l.out = append(l.out, "gets"...)
	for _, k := range keys {
		l.out = append(append(l.out, ' '), k...)
	}
	l.out = append(l.out, "\r\n"...)
	err = m.trip(ctx, l)
	return l.job.done, err
}

// readGets reads "VALUE <key> <flags> <size> <cas id>" and a value for each key that is there, in
// the order of the keys, and "END". Each names its key, so that no value is taken for another's.
func (m *metaPool) readGets(l *metaLane) error {
	j := &l.job
	for n := 0; ; n++ {
		if n%stretch == stretch-1 {
			m.extend(l)
		}
		line, err := m.line(l)
		if err != nil {
			return err
		}
		kind, rest := word(line)
		if string(kind) != "VALUE" {
			if string(line) != "END" {
				return unexpected(line)
			}
			clear(j.out[j.done:])
			j.done = len(j.keys)
			return nil
		}
		key, rest := word(rest)
		at := j.done
		for at < len(j.keys) && j.keys[at] != string(key) {
			at++
		}
		if at == len(j.keys) {
			return unexpected(line)
		}
		clear(j.out[j.done:at]) // passed over: not there
		j.done = at
		flags, rest := word(rest)
		size, rest := word(rest)
		id, _ := word(rest)
		f, ok1 := number(flags)
		z, ok2 := number(size)
		c, ok3 := number(id)
		if !ok1 || !ok2 || !ok3 || f > 1<<32-1 || z > 1<<30 {
			return unexpected(line)
		}
		value, err := m.body(l, int(z))
		if err != nil {
			return err
		}
		j.out[at] = reply{record: record{value: value, flags: uint32(f), cas: c}, found: true}
		j.done = at + 1
	}
}
