package writebehind_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

func TestNew_SaysEverythingThatIsWrong(t *testing.T) {
	_, err := writebehind.New(writebehind.Config[string]{
		Sink: (*source)(nil), Journal: (*journaltest.Memory)(nil), Codec: (*nilCodec)(nil),
		MaxBatch: -1, Rate: -1, Overflow: 9,
	})
	for _, field := range []string{"Sink", "Journal", "Codec", "MaxBatch", "Rate", "Overflow"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for _, s := range []writebehind.Sink[string]{nil, writebehind.SinkFunc[string](nil)} {
		if _, err := writebehind.New(writebehind.Config[string]{Sink: s}); err == nil {
			t.Errorf("a nil %T was taken", s)
		}
	}
}

// A journal that holds a nil pointer is refused where it is the only mistake, too.
func TestNew_RefusesANilJournal(t *testing.T) {
	sink := writebehind.SinkFunc[string](func(context.Context, []writebehind.Op[string]) error { return nil })
	if _, err := writebehind.New(writebehind.Config[string]{Sink: sink, Journal: (*journaltest.Memory)(nil)}); err == nil {
		t.Error("no error")
	}
}

type nilCodec struct{ codec.Codec[string] }
