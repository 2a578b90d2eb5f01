package fallback

import (
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

// Whoever is told by one of the two servers hears of half the changes, so the record warns of it.
func TestNew_TheRecordSaysThatKeysAreInOneOfTwoPlaces(t *testing.T) {
	s, err := New(Config{New: Member{Name: "new", Store: memory.New(memory.Config{})}, Old: []Member{{Name: "old", Store: memory.New(memory.Config{})}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Caps().Split {
		t.Error("it says that a key is in one place")
	}
	if backends.FitsOne("", []backends.Caps{s.Caps()}) == nil {
		t.Error("a source that hears of one server was taken")
	}
}
