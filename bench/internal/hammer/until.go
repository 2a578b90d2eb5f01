package hammer

import (
	"time"

	"github.com/hearthcache/hearth/internal/checker"
)

// enough stale reads show that the hammer can see them.
const enough = 25

// Until says how long a run goes on.
type Until struct {
	Goal  uint64        // reads to make with all fences on
	Least time.Duration // go on for at least so long,
	Most  time.Duration // and for no longer, goal or not
}

// Over says whether a run has seen what it is for after so long: with all fences on it has made its
// reads, and without one of them it has seen stale ones.
func (u Until) Over(c checker.Counts, passed time.Duration, fenced bool) bool {
	switch {
	case passed >= u.Most:
		return true
	case !fenced:
		return c.Stale >= enough
	}
	return c.Reads >= u.Goal && passed >= u.Least
}
