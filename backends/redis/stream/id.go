package stream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// id is the place of an entry in the log: a time in milliseconds and a count.
type id struct{ ms, n uint64 }

func parseID(s string) (id, error) {
	a, b, ok := strings.Cut(s, "-")
	ms, err1 := strconv.ParseUint(a, 10, 64)
	n, err2 := strconv.ParseUint(b, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return id{}, fmt.Errorf("no entry id: %.40q", s)
	}
	return id{ms, n}, nil
}

func (a id) String() string {
	return strconv.FormatUint(a.ms, 10) + "-" + strconv.FormatUint(a.n, 10)
}

func (a id) compare(b id) int { return cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.n, b.n)) }
