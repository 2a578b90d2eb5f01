package backends_test

import (
	"testing"

	"github.com/hearthcache/hearth/backends"
)

func TestToken_ZeroNamesNoVersion(t *testing.T) {
	var z backends.Token
	_, isID := z.ID()
	_, isValue := z.Value()
	if !z.IsZero() || isID || isValue {
		t.Errorf("the zero token: zero %v, id %v, value %v", z.IsZero(), isID, isValue)
	}
	for _, tok := range []backends.Token{backends.IDToken(0), backends.ValueToken("")} {
		if tok.IsZero() || tok == z {
			t.Errorf("%v counts as zero", tok)
		}
	}
}

func TestToken_KindsDoNotMix(t *testing.T) {
	id, value := backends.IDToken(7), backends.ValueToken("v")
	if n, ok := id.ID(); n != 7 || !ok {
		t.Errorf("id: %d, %v", n, ok)
	}
	if _, ok := id.Value(); ok {
		t.Error("an id token has a value")
	}
	if v, ok := value.Value(); v != "v" || !ok {
		t.Errorf("value: %q, %v", v, ok)
	}
	if _, ok := value.ID(); ok {
		t.Error("a value token has an id")
	}
}

func TestToken_RemembersItsWayThroughFourComposites(t *testing.T) {
	tok := backends.IDToken(7)
	way := []int{0, 254, 1, 33}
	for _, i := range way {
		tok = tok.At(i)
	}
	for j := len(way) - 1; j >= 0; j-- {
		i, inner, ok := tok.Member()
		if i != way[j] || !ok {
			t.Fatalf("member %d: got %d, %v", way[j], i, ok)
		}
		tok = inner
	}
	if tok != backends.IDToken(7) {
		t.Errorf("the innermost token: %v", tok)
	}
	if _, _, ok := tok.Member(); ok {
		t.Error("a token that nobody marked has a member")
	}
}

func TestToken_CostsNoAllocation(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		tok := backends.IDToken(7).At(1)
		if _, inner, ok := tok.Member(); !ok || inner.IsZero() {
			t.Error("lost")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
