package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// Some proxies hang up at a command that they do not know, where a server would say so. One such
// end of a connection is no refusal: the server may just have been killed. So a connection counts
// only if the other side had answered on it before, and only several in a row are a refusal.
const hangupsAreRefusal = 5

// Hangups counts connections to one node that were closed at the same kind of command. The zero
// value has counted none. For one goroutine.
type Hangups struct{ inRow int }

// Count takes the error that ended a connection and where the other side hung up, having answered
// before; at is empty if that is not what happened, and the count starts over. It returns err,
// marked as [backends.ErrUnsupported] once there are enough in a row.
func (h *Hangups) Count(at string, err error) error {
	if at == "" {
		h.inRow = 0
		return err
	}
	if h.inRow++; h.inRow < hangupsAreRefusal {
		return err
	}
	h.inRow = 0
	return fmt.Errorf("%w: %d connections in a row were answered and then closed at %s: %w",
		backends.ErrUnsupported, hangupsAreRefusal, at, err)
}

// Closed reports whether err says that the other side has closed the connection.
func Closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// ClosesAtHello asks node on a connection of its own whether it answers a PING and closes the
// connection at HELLO 3. False if it does anything else, or nothing within DeadAfter.
func ClosesAtHello(ctx context.Context, node *goredis.Options, t Timing) bool {
	ctx, cancel := context.WithTimeout(ctx, t.DeadAfter)
	defer cancel()
	o := Dedicated(ctx, node, t)
	cn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return false
	}
	defer cn.Close() // as the end of ctx does
	r := bufio.NewReader(cn)
	ask := func(command string) (string, error) {
		if _, err := io.WriteString(cn, command); err != nil {
			return "", err
		}
		return r.ReadString('\n')
	}
	pong, err := ask("*1\r\n$4\r\nPING\r\n")
	if err != nil || !strings.HasPrefix(pong, "+PONG") && !strings.HasPrefix(pong, "-NOAUTH") {
		return false
	}
	_, err = ask("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
	return Closed(err)
}
