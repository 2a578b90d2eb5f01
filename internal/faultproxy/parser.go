package faultproxy

import (
	"bytes"
	"strconv"
	"strings"
)

// parser counts the commands in a stream of requests that comes in pieces.
type parser struct {
	line []byte // of an unfinished line
	skip int    // bytes of data still to come, with their end
	args int    // RESP: arguments of this command still to come
	lost bool   // the stream is none we know
}

// count returns how many commands begin in this piece, counted at the end of
// their first line.
func (p *parser) count(piece []byte) int {
	n := 0
	for len(piece) > 0 && !p.lost {
		if p.skip > 0 {
			k := min(p.skip, len(piece))
			p.skip -= k
			piece = piece[k:]
			continue
		}
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			p.line = append(p.line, piece...)
			p.lost = len(p.line) > 1<<20
			return n
		}
		line := strings.TrimRight(string(append(p.line, piece[:end]...)), "\r")
		p.line = p.line[:0]
		piece = piece[end+1:]
		if p.command(line) {
			n++
		}
	}
	return n
}

// command looks at one line and says whether a command begins with it.
func (p *parser) command(line string) bool {
	switch {
	case strings.HasPrefix(line, "*") && p.args == 0:
		p.args, _ = strconv.Atoi(line[1:])
		return true
	case strings.HasPrefix(line, "$") && p.args > 0:
		size, err := strconv.Atoi(line[1:])
		p.lost = err != nil || size < 0
		p.args--
		p.skip = size + len("\r\n")
		return false
	}
	p.args = 0
	w := strings.Fields(line)
	if len(w) == 0 {
		return false
	}
	p.skip = dataBytes(w)
	return true
}

// dataBytes returns how many bytes follow a request line of memcached.
func dataBytes(w []string) int {
	at := 0
	switch w[0] {
	case "set", "add", "replace", "append", "prepend", "cas":
		at = 4
	case "ms":
		at = 2
	}
	if at == 0 || len(w) <= at {
		return 0
	}
	size, err := strconv.Atoi(w[at])
	if err != nil || size < 0 {
		return 0
	}
	return size + len("\r\n")
}
