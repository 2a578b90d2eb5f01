package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/backends/memcached"
)

const (
	memBuckets = 4096
	memBatch   = 1000
)

// scan implements endpoint. A server lists its keys in an order that changes, so they are taken in
// the order of a hash of ours, in buckets: a cursor is "address bucket", and whoever goes on
// lists the server anew and leaves out the buckets that are done. The list is read into
// memory as fast as it comes, since a slow reader would hold up the server.
func (e *memEnd) scan(ctx context.Context, from string, f *Filter, yield func(batch) error) error {
	first, done, err := e.resume(from)
	if err != nil {
		return err
	}
	for i := first; i < len(e.servers); i, done = i+1, 0 {
		buckets, passed, err := e.list(ctx, i, done, f)
		if err != nil {
			return err
		}
		b := batch{server: i}
		for n := done; n < memBuckets; n++ {
			b.keys = append(b.keys, buckets[n]...)
			b.passed.add(passed[n])
			last := n == memBuckets-1
			if len(b.keys) < memBatch && !last {
				continue
			}
			for len(b.keys) > 2*memBatch { // a part of a bucket is no place to go on from
				part := batch{server: i, keys: b.keys[:memBatch]}
				b.keys = b.keys[memBatch:]
				if err := yield(part); err != nil {
					return err
				}
			}
			switch {
			case !last:
				b.next = e.servers[i].addr + " " + strconv.Itoa(n+1)
			case i+1 < len(e.servers):
				b.next = e.servers[i+1].addr + " 0"
			}
			if err := yield(b); err != nil {
				return err
			}
			b = batch{server: i}
		}
	}
	return nil
}

func (e *memEnd) resume(from string) (server, bucket int, err error) {
	if from == "" {
		return 0, 0, nil
	}
	addr, n, _ := strings.Cut(from, " ")
	server = slices.IndexFunc(e.servers, func(s *memServer) bool { return s.addr == addr })
	bucket, err = strconv.Atoi(n)
	if server < 0 || err != nil || bucket < 0 || bucket >= memBuckets {
		return 0, 0, permanent{fmt.Errorf("the copy cannot go on at %q: the list of servers has changed; start again with a new state file", from)}
	}
	return server, bucket, nil
}

// list returns the keys of a server by bucket, from the first one wanted on, and what became of
// those that are settled by the list alone.
func (e *memEnd) list(ctx context.Context, server, first int, f *Filter) (*[memBuckets][]string, []Tally, error) {
	dump, err := e.dump(ctx, server)
	if err != nil {
		return nil, nil, fmt.Errorf("list the keys of %s: %w", e.servers[server].addr, err)
	}
	var buckets [memBuckets][]string
	passed := make([]Tally, memBuckets)
	for len(dump) > 0 {
		var line []byte
		line, dump, _ = bytes.Cut(dump, []byte{'\n'})
		key := string(line)
		if bytes.IndexByte(line, '%') >= 0 {
			if key, err = url.PathUnescape(key); err != nil {
				key = string(line)
			}
		}
		n := int(xxhash.Sum64String(key) % memBuckets)
		if n < first {
			continue
		}
		fate := Pending
		_, unholdable, err := memcached.WireKey(key)
		switch _, kind := kindOf(key, f.StripPrefix); {
		case kind == memcached.Beside:
			fate = Lease
		case kind == memcached.Plain && !f.keeps(key):
			fate = Filtered
		case err != nil, unholdable && kind == memcached.Plain:
			fate = BadKey // written with the binary protocol, and out of reach of this one
		case len(e.servers) > 1 && e.layout.Owner(key) != server:
			fate = Misplaced
		default:
			buckets[n] = append(buckets[n], key)
			continue
		}
		passed[n].Listed++
		passed[n].Fates[fate]++
	}
	return &buckets, passed, nil
}

// kindOf tells what a wire key stands for, to a store with this prefix, and what it is behind that.
func kindOf(wire, prefix string) (rest string, kind memcached.Kind) {
	rest = strings.TrimPrefix(wire, prefix)
	return rest, memcached.KindOf(rest)
}

// dump returns a server's keys as it writes them, one a line, percent-encoded. "hash" lists every
// key, where "all" loses some under traffic; old servers know only that.
func (e *memEnd) dump(ctx context.Context, server int) ([]byte, error) {
	what := "hash"
	for {
		keys, err := e.metadump(ctx, e.servers[server], what)
		var said *errReply
		if !errors.As(err, &said) {
			return keys, err
		}
		switch {
		case strings.HasPrefix(said.line, "BUSY"):
			return nil, fmt.Errorf("it lists its keys for somebody else: %w", said)
		case what == "hash" && strings.HasPrefix(said.line, "CLIENT_ERROR"):
			what = "all"
			e.remark(fmt.Sprintf("%s cannot list its keys by their hash (metadump hash): keys that are used meanwhile may be missing from its list, about 4 %% under traffic", e.servers[server].addr))
		case strings.Contains(said.line, "lru crawler disabled"):
			return nil, permanent{fmt.Errorf("%w: switch it on with \"lru_crawler enable\", or start memcached without -o no_lru_crawler", said)}
		default:
			return nil, err
		}
	}
}

func (e *memEnd) metadump(ctx context.Context, s *memServer, what string) (keys []byte, err error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	lines := 0
	err = c.exchange(ctx, []byte("lru_crawler metadump "+what+"\r\n"), func() error {
		for {
			line, err := c.line()
			if err != nil {
				return err
			}
			if rest, ok := bytes.CutPrefix(line, []byte("key=")); ok {
				key, _, _ := bytes.Cut(rest, []byte{' '})
				keys = append(append(keys, key...), '\n')
				if lines++; lines%4096 == 0 && ctx.Err() == nil { // the whole list may take longer than one answer
					c.SetDeadline(time.Now().Add(c.wait))
				}
				continue
			}
			switch {
			case bytes.Equal(line, []byte("END")):
				return nil
			case len(line) == 0, bytes.Equal(line, []byte("OK")): // newer servers begin with it
			case bytes.HasPrefix(line, []byte("BUSY")):
				return &errReply{string(line)}
			default:
				if err := complaint(line); err != nil {
					return err
				}
				return fmt.Errorf("unexpected answer %.60q", line)
			}
		}
	})
	return keys, err
}
