package backendtest

import (
	"fmt"
	"strings"

	"github.com/hearthcache/hearth/backends"
)

// weirdKeys are what applications pass and servers trip over. They follow the case's own
// beginning; those of an exact length count it in.
var weirdKeys = []struct {
	name, key, why string
	length         int // pad the whole key to this, 0 = as it is
}{
	{name: "space", key: "a b", why: "memcached ends a key at a blank"},
	{name: "CR LF", key: "a\r\nset x 0 0 1\r\n1\r\n", why: "a command of the attacker's choice"},
	{name: "LF", key: "a\nb", why: "as CR LF"},
	{name: "tab", key: "a\tb", why: "control characters are refused by memcached"},
	{name: "NUL", key: "a\x00b", why: "C strings end there"},
	{name: "DEL", key: "a\x7fb", why: "a control character too"},
	{name: "UTF-8", key: "größe:日本語:🔥", why: "keys are bytes, not ASCII"},
	{name: "not UTF-8", key: "a\xff\xfeb", why: "keys are bytes, not text"},
	{name: "braces", key: "{user1}:a", why: "a hash tag of a cluster"},
	{name: "empty braces", key: "{}:a", why: "no hash tag"},
	{name: "open brace", key: "{a", why: "no hash tag"},
	{name: "nested braces", key: "{{a}}b}", why: "the tag ends at the first closing brace"},
	{name: "percent", key: "a%20b%00%", why: "escapes that must not be undone"},
	{name: "percent d", key: "%d%s%n", why: "format verbs"},
	{name: "dot dot", key: "../../etc/passwd", why: "paths are only text"},
	{name: "star", key: "a*?[b]\\", why: "patterns of SCAN and KEYS"},
	{name: "quotes", key: `a"b'c` + "`", why: "scripts and logs quote"},
	{name: "colon", key: ":a::b:", why: "separators at the ends"},
	{name: "250", key: "k", length: 250, why: "the longest key of memcached"},
	{name: "251", key: "k", length: 251, why: "one more than memcached takes"},
	{name: "1 KB", key: "k", length: 1024, why: "a URL as a key"},
	{name: "1 KB with a tail", key: "t", length: 1024, why: "differs from the one before only in its last byte"},
}

func (e *env) weird(i int) string {
	w := weirdKeys[i]
	k := e.key(w.key)
	if w.length > 0 {
		k = e.name + strings.Repeat("x", max(0, w.length-len(k))) + w.key
	}
	return k
}

var keyCases = []Case{
	{
		Name: "keys/WeirdKeysAreKeysLikeAnyOther",
		Why:  "keys hold what users typed",
		run: func(e *env) {
			for i := range weirdKeys {
				e.set(e.weird(i), fmt.Sprint("value ", i))
			}
			for i, w := range weirdKeys {
				it, err := e.Store.Get(e.ctx, e.weird(i))
				if err != nil || string(it.Value) != fmt.Sprint("value ", i) {
					e.Errorf("%s: got %.40q, %v (%s)", w.name, it.Value, err, w.why)
				}
			}
			for i, w := range weirdKeys {
				if err := e.Store.Delete(e.ctx, e.weird(i)); err != nil {
					e.Errorf("%s: delete: %v (%s)", w.name, err, w.why)
				}
				e.missing(e.weird(i))
			}
		},
	},
	{
		Name: "keys/SimilarKeysAreDifferentKeys",
		Why:  "a driver that escapes, trims or folds keys must not make two of them one",
		run: func(e *env) {
			similar := e.keys("a b", "a%20b", "a+b", "a_b", "A B", "a b ", " a b", "a\x00b", "a\\x00b", "a", "a ", "a\n", "ä", "a\u0308")
			for i, k := range similar {
				e.set(k, fmt.Sprint(i))
			}
			for i, k := range similar {
				e.holds(k, fmt.Sprint(i))
			}
		},
	},
	{
		Name: "keys/EmptyKeyIsRefused",
		Why:  "in memcached's protocol an empty key turns the value into commands",
		run: func(e *env) {
			_, err := e.Store.Get(e.ctx, "")
			e.is(err, backends.ErrEmptyKey, "get")
			e.is(e.Store.Set(e.ctx, "", item("v")), backends.ErrEmptyKey, "set")
			e.is(e.Store.Delete(e.ctx, ""), backends.ErrEmptyKey, "delete")
			if e.caps.TTLer != nil {
				_, err = e.caps.TTLer.GetTTL(e.ctx, "")
				e.is(err, backends.ErrEmptyKey, "getttl")
			}
			if e.caps.Fencer != nil {
				_, err = e.caps.Fencer.Seize(e.ctx, "", hour)
				e.is(err, backends.ErrEmptyKey, "seize")
			}
			k := e.key("k")
			e.set(k, "the connection is still good")
			e.holds(k, "the connection is still good")
		},
	},
	{
		Name:  "keys/WeirdKeysInBatches",
		Why:   "batches take another path through most clients",
		needs: needBatcher,
		run: func(e *env) {
			entries, keys, want := []backends.KeyItem{}, []string{}, []string{}
			for i := range weirdKeys {
				keys, want = append(keys, e.weird(i)), append(want, fmt.Sprint("value ", i))
				entries = append(entries, backends.KeyItem{Key: keys[i], Item: item(want[i])})
			}
			e.allOK(e.caps.Batcher.SetMany(e.ctx, entries), "setmany")
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, keys), want...)
			for i, k := range keys {
				e.holds(k, want[i])
			}
			e.allOK(e.caps.Batcher.DeleteMany(e.ctx, keys), "deletemany")
			e.wantResults(e.caps.Batcher.GetMany(e.ctx, keys), make([]string, len(keys))...)
		},
	},
	{
		Name:  "keys/WeirdKeysCanBeLeased",
		Why:   "scripts and side keys build on the key",
		needs: needLeaser,
		run: func(e *env) {
			for i := range weirdKeys {
				k := e.weird(i)
				l := e.acquire(k, hour)
				e.getErr(k, backends.ErrLeased)
				e.ok(l.Fill(e.ctx, item("v")), weirdKeys[i].name)
				e.holds(k, "v")
				if e.caps.Refresher != nil {
					e.ok(e.acquireRefresh(k).Fill(e.ctx, item("w")), weirdKeys[i].name)
					e.holds(k, "w")
				}
			}
		},
	},
	{
		Name:  "keys/WeirdKeysCanBeSwapped",
		Why:   "as for leases",
		needs: needCASer,
		run: func(e *env) {
			for i := range weirdKeys {
				k := e.weird(i)
				e.ok(e.caps.CASer.Add(e.ctx, k, item("v")), weirdKeys[i].name)
				e.ok(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), item("w")), weirdKeys[i].name)
				e.holds(k, "w")
				e.ok(e.caps.CASer.CompareAndDelete(e.ctx, k, e.token(k)), weirdKeys[i].name)
				e.missing(k)
			}
		},
	},
}
