package memcached

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hearthcache/hearth/backends"
)

// outcomes are what GetMany has, one word a key.
func outcomes(rs []backends.Result) (words []string) {
	for _, r := range rs {
		switch {
		case r.Err == nil:
			words = append(words, string(r.Item.Value))
		case backends.IsAnswer(r.Err):
			words = append(words, "miss")
		default:
			words = append(words, "failed")
		}
	}
	return words
}

// Replies are for the keys that they name, in order. What has none is a miss if the reply is
// complete, and a failure if it broke off.
func TestMeta_RepliesOfAMultiGetAreForTheKeysTheyName(t *testing.T) {
	v := func(key, value string) string {
		return fmt.Sprintf("VALUE %s 0 %d 7\r\n%s\r\n", key, len(value), value)
	}
	for _, c := range []struct{ what, reply, want string }{
		{"all", v("a", "1") + v("b", "2") + v("c", "3") + "END\r\n", "1 2 3"},
		{"misses", v("b", "2") + "END\r\n", "miss 2 miss"},
		{"none", "END\r\n", "miss miss miss"},
		{"another's key", v("other", "1") + "END\r\n", "failed failed failed"},
		{"out of order", v("c", "3") + v("a", "1") + "END\r\n", "failed failed 3"},
		{"complaint in between", v("b", "2") + "SERVER_ERROR out of memory writing get response\r\n", "failed 2 failed"},
		{"no size", "VALUE a 0 x 7\r\n1\r\nEND\r\n", "failed failed failed"},
		{"no cas id", "VALUE a 0 1\r\n1\r\nEND\r\n", "failed failed failed"},
		{"longer than it says", "VALUE a 0 1 7\r\n12\r\nEND\r\n", "failed failed failed"},
		{"END with more", v("a", "1") + "ENDLESS\r\n", "1 failed failed"},
	} {
		s := open(t, Config{Servers: fleet(scripted(t, c.reply)), Transport: Meta})
		if got := strings.Join(outcomes(s.GetMany(t.Context(), []string{"a", "b", "c"})), " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

// A connection that went out of step is not used for the next call.
func TestMeta_AMultiGetThatWentWrongLeavesNothingBehind(t *testing.T) {
	s := open(t, Config{Servers: fleet(scripted(t,
		"VALUE x 0 1 7\r\n1\r\nVALUE a 0 5 7\r\nwrong\r\nEND\r\n", "VALUE a 0 5 7\r\nright\r\nEND\r\n",
	)), Transport: Meta})
	s.GetMany(t.Context(), []string{"a", "b"})
	if got := outcomes(s.GetMany(t.Context(), []string{"a", "b"})); !slices.Equal(got, []string{"right", "miss"}) {
		t.Errorf("got %q", got)
	}
}

func TestMeta_AMultiGetIsOneCommand(t *testing.T) {
	s, p := proxied(t, Config{Transport: Meta})
	var keys, want []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint("k", i))
		want = append(want, fmt.Sprint("v", i))
		ok(t, s.Set(t.Context(), keys[i], backends.Item{Value: []byte(want[i]), Flags: uint32(i)}))
	}
	keys, want = append(keys, "absent", "k7", ""), append(want, "miss", "v7", "failed")
	before := p.Commands()
	rs := s.GetMany(t.Context(), keys)
	if n := p.Commands() - before; n != 1 {
		t.Errorf("%d commands", n)
	}
	if got := outcomes(rs); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	is(t, rs[len(rs)-1].Err, backends.ErrEmptyKey)
	if r := rs[3]; r.Item.Flags != 3 {
		t.Errorf("flags %d", r.Item.Flags)
	}
	id, known := rs[3].Item.Token.ID()
	if one, err := s.Get(t.Context(), keys[3]); err != nil || !known || one.Token != backends.IDToken(id) {
		t.Errorf("token %v, Get has %v, %v", rs[3].Item.Token, one.Token, err)
	}
}
