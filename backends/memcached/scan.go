package memcached

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
)

const (
	scanBatch = 1000
	scanBusy  = 50 * time.Millisecond // between two attempts while another crawl runs

	// scanSilence times Timeout is how long a crawl may say nothing: it yields to other work.
	scanSilence = 20
)

// Scan implements [backends.Scanner] with "lru_crawler metadump hash", which lists every key
// ("all" loses some under traffic). The keys of one server after the other are read into memory
// as fast as they come, since a slow reader would hold up the server, sorted, and then handed out.
// The cursor is the last key and its server: a resumed scan lists that server anew and goes on
// behind the key.
//
// Keys outside Prefix are left out. Of keys that are kept under their hash those are listed whose
// value tells the key; not counters, nor keys of more than 512 bytes.
func (s *Store) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	first, after, err := s.resume(cursor)
	if err != nil {
		return err
	}
	// One batch is held back until it is known whether anything comes after it.
	var held []string
	var next string
	for _, srv := range s.servers[first:] {
		dump, err := s.dump(ctx, srv)
		if err != nil {
			return err
		}
		at, found := slices.BinarySearchFunc(dump, after, func(line []byte, after string) int {
			return strings.Compare(string(line), after)
		})
		if found {
			at++
		}
		after = ""
		for part := range slices.Chunk(dump[at:], scanBatch) {
			keys, err := s.users(ctx, srv, part)
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				continue
			}
			if held != nil {
				if err := yield(held, next); err != nil {
					return err
				}
			}
			held, next = keys, string(part[len(part)-1])+" "+srv.name
		}
	}
	if held == nil {
		return nil
	}
	return yield(held, "")
}

// resume reads a cursor: "<last key, as the server writes it> <name of its server>".
func (s *Store) resume(cursor string) (server int, after string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	after, name, _ := strings.Cut(cursor, " ")
	for i, srv := range s.servers {
		if srv.name == name {
			return i, after, nil
		}
	}
	return 0, "", fmt.Errorf("memcached: scan cursor %q names no server of this fleet", cursor)
}

// users returns the users' keys behind lines of a dump.
func (s *Store) users(ctx context.Context, srv *server, lines [][]byte) ([]string, error) {
	var keys, hashed []string
	for _, line := range lines {
		key, err := url.PathUnescape(string(line))
		if err != nil {
			continue // not a key that a client could send either
		}
		user, ok := strings.CutPrefix(key, s.prefix)
		switch {
		case !ok || user == "":
		case !shaped(user):
			keys = append(keys, user)
		case user[1] == asHash:
			hashed = append(hashed, key)
		}
	}
	for part := range slices.Chunk(hashed, chunk) {
		out := make([]reply, len(part))
		if err := srv.getMany(ctx, part, out); err != nil {
			return nil, err
		}
		for _, r := range out {
			if key, _, ok := labelled(r.value); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// dump returns the keys of a server as it writes them, percent-encoded, sorted.
func (s *Store) dump(ctx context.Context, srv *server) ([][]byte, error) {
	what := "hash"
	for {
		buf, err := s.metadump(ctx, srv, what)
		var e *ReplyError
		switch {
		case err == nil:
			lines := bytes.Split(bytes.TrimSuffix(buf, []byte{'\n'}), []byte{'\n'})
			slices.SortFunc(lines, bytes.Compare)
			return lines, nil
		case !errors.As(err, &e):
			return nil, err
		case strings.HasPrefix(e.Line, "BUSY"):
			select {
			case <-time.After(scanBusy):
			case <-ctx.Done():
				return nil, failure(ctx, srv.name, nil, err)
			}
		case what == "hash" && strings.HasPrefix(e.Line, "CLIENT_ERROR"):
			what = "all" // old servers know no other
		default:
			return nil, err
		}
	}
}

// metadump asks once; the answer is one key a line.
func (s *Store) metadump(ctx context.Context, srv *server, what string) ([]byte, error) {
	if err := ended(ctx); err != nil {
		return nil, failure(ctx, srv.name, backends.ErrUnavailable, err)
	}
	l := new(lane)
	l.init(srv.dial)
	l.begin(ctx)
	defer l.end()
	conn, err := l.open()
	if err != nil {
		return nil, failure(ctx, srv.name, backends.ErrUnavailable, err)
	}
	defer conn.Close()
	in := &patient{Conn: conn, silence: scanSilence * s.timeout}
	if _, err := io.WriteString(conn, "lru_crawler metadump "+what+"\r\n"); err != nil {
		return nil, failure(ctx, srv.name, nil, err)
	}
	var keys []byte
	for r := bufio.NewReaderSize(in, 64<<10); ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, failure(ctx, srv.name, nil, err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if rest, ok := bytes.CutPrefix(line, []byte("key=")); ok {
			key, _, _ := bytes.Cut(rest, []byte{' '})
			keys = append(append(keys, key...), '\n')
			continue
		}
		switch {
		case bytes.Equal(line, []byte("END")):
			return keys, nil
		case len(line) == 0, bytes.Equal(line, []byte("OK")): // newer servers say so first
		case bytes.HasPrefix(line, []byte("BUSY")):
			return nil, &ReplyError{Server: srv.name, Line: string(line)}
		default:
			if e, ok := complaint(srv.name, string(line)); ok {
				return nil, e
			}
			return nil, failure(ctx, srv.name, nil, fmt.Errorf("unexpected line %s", quote(line)))
		}
	}
}

// patient is a connection that may be silent for a while before each read.
type patient struct {
	net.Conn
	silence time.Duration // <= 0: as long as the ctx allows
}

func (p *patient) Read(b []byte) (int, error) {
	var until time.Time
	if p.silence > 0 {
		until = time.Now().Add(p.silence)
	}
	p.Conn.SetDeadline(until)
	return p.Conn.Read(b)
}
