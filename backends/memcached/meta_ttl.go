package memcached

import (
	"context"

	"github.com/hearthcache/hearth/backends"
)

// GetTTL implements [backends.TTLer], with one mg. Servers before 1.6 do not know it:
// [backends.ErrUnsupported].
func (s *Store) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	r := s.GetTTLMany(ctx, []string{key})[0]
	return r.Item, r.Err
}

// pipelined is the number of mg sent together: small enough for the sockets' buffers, so that
// neither side waits for the other to read.
const pipelined = 64

// GetTTLMany implements [backends.TTLer]: the keys of each server are pipelined.
func (s *Store) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	rs := make([]backends.Result, len(keys))
	groups := s.groups(len(keys), func(i int) string { return keys[i] }, func(i int, err error) { rs[i].Err = err })
	each(groups, func(g group) {
		for lo := 0; lo < len(g.places); lo += pipelined {
			hi := min(lo+pipelined, len(g.places))
			s.statesTTL(ctx, g, lo, hi, func(n int, st state, err error) {
				r := &rs[g.at[n]]
				if r.Err = err; err == nil {
					r.Item, r.Err = st.item()
				}
			})
		}
	})
	return rs
}

func (s *Store) statesTTL(ctx context.Context, g group, lo, hi int, got func(n int, st state, err error)) {
	part := g.places[lo:hi]
	var keys []string
	for _, p := range part {
		keys = append(keys, p.wire)
		if s.separate {
			keys = append(keys, s.beside(p, asLease))
		}
	}
	out := make([]reply, len(keys))
	done, err := g.srv.meta.getTTL(ctx, keys, out)
	step := len(keys) / len(part)
	for n, p := range part {
		if (n+1)*step > done {
			got(lo+n, state{}, err)
			continue
		}
		var mark reply
		if s.separate {
			mark = out[n*step+1]
		}
		got(lo+n, p.state(out[n*step], mark), nil)
	}
}
