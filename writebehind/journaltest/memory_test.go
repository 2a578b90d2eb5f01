package journaltest_test

import (
	"testing"

	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

func TestMemory(t *testing.T) {
	journals := map[string]*journaltest.Memory{}
	journaltest.Run(t, func(t *testing.T) writebehind.Journal {
		if last := journals[t.Name()]; last != nil {
			journals[t.Name()] = last.Reopen()
		} else {
			journals[t.Name()] = journaltest.NewMemory()
		}
		return journals[t.Name()]
	})
}
