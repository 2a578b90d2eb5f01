package memcachedtest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearthcache/hearth/internal/memcachedtest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// wire is a raw connection on which a request ends with mn, whose answer cannot
// be part of another one in these tests.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func dial(t rapid.TB, addr string) *wire {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return &wire{Conn: c, r: bufio.NewReader(c)}
}

// ask sends the request and returns everything up to the answer of mn, or up to
// the end of the connection, which is then marked.
func (w *wire) ask(t rapid.TB, request string) string {
	if err := w.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(request + "mn\r\n")) // a refusal shows in the read
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "MN\r\n") {
		line, err := w.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			if os.IsTimeout(err) {
				t.Fatalf("no end of the answer to %.200q: %.200q", request, b.String())
			}
			return b.String() + "<closed>"
		}
	}
	return b.String()
}

// remaining matches what is left of the 100 seconds and the far date that the
// tests set, or negative times as 32 bits; the servers' clocks may be a second
// apart.
var remaining = regexp.MustCompile(` t(9[0-9]|100|2[0-9]{8}|42949672[0-9]{2})\b`)

func same(real, ours string) bool {
	return remaining.ReplaceAllString(real, " tX") == remaining.ReplaceAllString(ours, " tX")
}

// needReal ends the test where there is no memcached to compare with.
func needReal(t *testing.T) {
	t.Helper()
	serverstest.Real(t, serverstest.Memcached(t))
}

// pair is a real memcached and ours, both fresh.
func pair(t rapid.TB) (real, ours *wire, closeAll func()) {
	rs, err := servers.StartMemcached(servers.Options{MustBeReal: true, Args: []string{"-m", "16"}})
	if err != nil {
		t.Fatal(err)
	}
	mine := memcachedtest.New(memcachedtest.Config{})
	if err := mine.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	real, ours = dial(t, rs.Addr()), dial(t, mine.Addr())
	return real, ours, func() {
		_, _ = real.Close(), ours.Close()
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
		if err := rs.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServer_AnswersRandomCommandsLikeTheRealOne(t *testing.T) {
	needReal(t)
	rapid.Check(t, func(t *rapid.T) {
		var requests []string
		for range rapid.IntRange(5, 120).Draw(t, "commands") {
			requests = append(requests, drawCommand(t))
		}
		// Background threads of the real server may hold an item for a moment,
		// and a counter that gets shorter is then replaced instead of padded: a
		// difference counts if it is there each time.
		var difference string
		for range 20 {
			if difference = compare(t, requests); difference == "" {
				return
			}
		}
		t.Fatal(difference)
	})
}

// compare sends the requests to a fresh pair and returns the first difference.
func compare(t rapid.TB, requests []string) string {
	real, ours, closeAll := pair(t)
	defer closeAll()
	for i, request := range requests {
		a, b := real.ask(t, request), ours.ask(t, request)
		if !same(a, b) {
			return fmt.Sprintf("%q\nreal %q\nours %q\nafter %q", request, a, b, requests[:i])
		}
	}
	return ""
}

var (
	keys     = rapid.SampledFrom([]string{"a", "b", "c", "YWI=", "ab"})
	exptimes = rapid.SampledFrom([]string{"0", "0", "100", "100", "-1", "2678400", "2000000000", "2147483648"})
	casIDs   = rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 25).Draw(t, "cas")) })
	deltas   = rapid.SampledFrom([]string{"0", "1", "9", "10", "95", "18446744073709551615", "x", "-1"})
	values   = rapid.OneOf(
		rapid.SampledFrom([]string{"", "0", "9", "10", "99", "100", "18446744073709551615", "7 ", "12 x", "-3", "+4", " 5", "x1", "a\nb\r\nc", "get a\r\n", "\x00\xff"}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 30), func(b []byte) string { return string(b) }).Filter(notBlank),
	)
	noreply = rapid.SampledFrom([]string{"", "", "", " noreply"})
)

// notBlank keeps out values of blanks only: incr of one reads beyond it in the
// real server, and answers with what the memory held before.
func notBlank(v string) bool { return v == "" || strings.TrimSpace(v) != "" }

func drawCommand(t *rapid.T) string {
	key, ttl, cas, value := keys.Draw(t, "key"), exptimes.Draw(t, "ttl"), casIDs.Draw(t, "cas"), values.Draw(t, "value")
	quiet := noreply.Draw(t, "noreply")
	flags := rapid.SampledFrom([]string{"0", "7", "4294967295", "4294967296"}).Draw(t, "flags")
	many := strings.Join(rapid.SliceOfN(keys, 1, 4).Draw(t, "keys"), " ")
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 0, 1:
		verb := rapid.SampledFrom([]string{"set", "set", "add", "replace", "append", "prepend"}).Draw(t, "verb")
		return fmt.Sprintf("%s %s %s %s %d%s\r\n%s\r\n", verb, key, flags, ttl, len(value), quiet, value)
	case 2:
		return fmt.Sprintf("cas %s %s %s %d %s%s\r\n%s\r\n", key, flags, ttl, len(value), cas, quiet, value)
	case 3:
		return rapid.SampledFrom([]string{"get ", "gets "}).Draw(t, "verb") + many + "\r\n"
	case 4:
		return rapid.SampledFrom([]string{"gat ", "gats "}).Draw(t, "verb") + ttl + " " + many + "\r\n"
	case 5, 6:
		return rapid.SampledFrom([]string{"incr ", "decr "}).Draw(t, "verb") + key + " " + deltas.Draw(t, "delta") + quiet + "\r\n"
	case 7:
		return "delete " + key + quiet + "\r\n"
	case 8:
		return "touch " + key + " " + ttl + quiet + "\r\n"
	case 9, 10:
		return "mg " + key + drawFlags(t, "vtcfskhqbu", map[string]string{"N": ttl, "T": ttl, "R": "30", "O": "op1"}) + "\r\n"
	case 11, 12:
		mode := rapid.SampledFrom([]string{"S", "E", "A", "P", "R", "S", "X", ""}).Draw(t, "mode")
		return fmt.Sprintf("ms %s %d%s\r\n%s\r\n", key, len(value),
			drawFlags(t, "kcqbI", map[string]string{"T": ttl, "F": flags, "C": cas, "M": mode, "O": "op2"}), value)
	case 13:
		return "md " + key + drawFlags(t, "kqbI", map[string]string{"T": ttl, "C": cas, "O": "op3"}) + "\r\n"
	case 14:
		mode := rapid.SampledFrom([]string{"I", "D", "+", "-", "X"}).Draw(t, "mode")
		return "ma " + key + drawFlags(t, "vtckqb", map[string]string{
			"N": ttl, "T": ttl, "J": deltas.Draw(t, "initial"), "D": deltas.Draw(t, "delta"), "M": mode, "C": cas, "O": "op4",
		}) + "\r\n"
	}
	return rapid.SampledFrom([]string{
		"flush_all\r\n", "flush_all noreply\r\n", "verbosity 0\r\n", "\r\n", "nonsense\r\n", "get\r\n", "set a 0 0\r\n", "ms a\r\n", "mg a v v\r\n",
	}).Draw(t, "other")
}

// drawFlags picks some of the single letters and some of the flags with
// arguments, in any order.
func drawFlags(t *rapid.T, letters string, args map[string]string) string {
	var all []string
	for _, l := range letters {
		all = append(all, string(l))
	}
	for _, l := range []string{"N", "T", "R", "F", "C", "M", "J", "D", "O"} {
		if a, ok := args[l]; ok {
			all = append(all, l+a)
		}
	}
	all = rapid.Permutation(all).Draw(t, "order")
	all = all[:rapid.IntRange(0, min(len(all), 6)).Draw(t, "flags")]
	if len(all) == 0 {
		return ""
	}
	return " " + strings.Join(all, " ")
}

func TestServer_AnswersOddRequestsLikeTheRealOne(t *testing.T) {
	needReal(t)
	long := strings.Repeat("k", 251)
	full := strings.Repeat("k", 250)
	big := strings.Repeat("x", 1<<20)
	steps := []struct{ name, request string }{
		{"key of 250 bytes", "set " + full + " 0 0 1\r\nx\r\nget " + full + "\r\n"},
		{"key of 251 bytes", "get " + long + "\r\n"},
		{"long key behind a hit", "get " + full + " " + long + "\r\n"},
		{"long key with data", "set " + long + " 0 0 2\r\nxx\r\n"},
		{"long key in a quiet command", "delete " + long + " noreply\r\n"},
		{"long meta key", "mg " + long + " v\r\n"},
		{"empty key runs the value", "set  0 0 9\r\nflush_all\r\n"},
		{"negative length", "set k 0 0 -1\r\n"},
		{"value longer than said", "set k 0 0 1\r\nxyz\r\n"},
		{"value longer than said, quiet", "set k 0 0 1 noreply\r\nxyz\r\n"},
		{"value longer than said, meta", "ms k 1 q\r\nxyz\r\n"},
		{"value of the old key survives bad data", "set k 0 0 1\r\no\r\nset k 0 0 1\r\nxyz\r\nget k\r\n"},
		{"too large removes the old value", "set k 0 0 1\r\no\r\nset k 0 0 1048576\r\n" + big + "\r\nget k\r\n"},
		{"too large add keeps the old value", "set k 0 0 1\r\no\r\nadd k 0 0 1048576\r\n" + big + "\r\nget k\r\n"},
		{"too large meta add removes the old value", "set k 0 0 1\r\no\r\nms k 1048576 ME\r\n" + big + "\r\nget k\r\n"},
		{"bad meta length", "ms k x\r\n"},
		{"bad meta flag swallows the data", "ms k 1 !\r\nx\r\n"},
		{"bad meta expiry swallows the data", "ms k 1 Tx\r\nx\r\n"},
		{"opaque too long", "mg k O" + long[:40] + "\r\n"},
		{"opaque too long with data", "ms k 1 O" + long[:40] + "\r\nx\r\n"},
		{"bad base64", "mg =a= b\r\n"},
		{"delete with a time", "delete k 1\r\n"},
		{"delete with time zero", "delete k 0\r\n"},
		{"delete with time zero, quiet", "delete k 0 noreply\r\n"},
		{"gat without keys", "gat 0\r\n"},
		{"gat with a bad time", "gat x k\r\n"},
		{"touch with a bad time", "touch k x\r\n"},
		{"flush with a bad time", "flush_all x\r\n"},
		{"flush in the past", "flush_all -1\r\n"},
		{"verbosity alone", "verbosity\r\n"},
		{"verbosity of letters", "verbosity x\r\n"},
		{"unknown statistics", "stats foo\r\n"},
		{"statistics reset", "stats reset\r\n"},
		{"unknown meta command", "mx k\r\n"},
		{"meta get without a key", "mg\r\n"},
		{"debug without a key", "me\r\n"},
		{"debug of nothing", "me nothing\r\n"},
		{"bad mode", "ms k 1 MX\r\nx\r\n"},
		{"long mode", "ms k 1 Mset\r\nx\r\n"},
		{"stale hands out one token", "ms s 1 T0\r\nx\r\nmd s I T30\r\nmg s v c\r\nmg s v c\r\nms s 1\r\ny\r\nmg s v c\r\n"},
		{"append forgets that the key came in base64", "ms YWI= 1 b\r\nx\r\nappend ab 0 0 1\r\ny\r\nmg YWI= b k v\r\n"},
		{"meta append forgets it too", "ms YWI= 1 b\r\nx\r\nms YWI= 1 b MP\r\ny\r\nmg ab k v\r\n"},
		{"vivify hands out one token", "mg n N30 v\r\nmg n N30 v\r\n"},
		{"recache hands out one token", "ms r 1 T10\r\nx\r\nmg r R30 v\r\nmg r R30 v\r\n"},
		{"older cas id with I is stored as stale", "ms i 1\r\nx\r\nms i 1 C1 I\r\ny\r\nmg i v c\r\n"},
		{"wrong class", "lru_crawler metadump xyz\r\n"},
		{"http", "GET / HTTP/1.1\r\n"},
		{"quit", "quit\r\n"},
		{"pipeline", strings.Repeat("set p 0 0 3\r\na\nb\r\nget p\r\n", 300)},
		{"multi-get of 100 keys", "get " + strings.Repeat("p ", 99) + "p\r\n"},
	}
	real, ours, closeAll := pair(t)
	defer closeAll()
	for _, s := range steps {
		a, b := real.ask(t, s.request), ours.ask(t, s.request)
		if forgetAccess(a) != forgetAccess(b) {
			t.Errorf("%s: %.100q\nreal %.300q\nours %.300q", s.name, s.request, a, b)
		}
		if strings.HasSuffix(a, "<closed>") {
			real, ours = again(t, real), again(t, ours)
		}
	}
}

func TestServer_DumpsKeysLikeTheRealOne(t *testing.T) {
	needReal(t)
	real, ours, closeAll := pair(t)
	defer closeAll()
	for _, request := range []string{
		"lru_crawler metadump all\r\n", // nothing there
		"set a/b%c~d_e.f-g 5 0 1\r\nx\r\n",
		"lru_crawler metadump all\r\n",
		"lru_crawler metadump hash\r\n",
	} {
		var a, b string
		if strings.HasPrefix(request, "set") {
			a, b = real.ask(t, request), ours.ask(t, request)
		} else { // the real server forgets what was pipelined behind a dump
			a, b = real.dump(t, request), ours.dump(t, request)
		}
		if forgetAccess(a) != forgetAccess(b) {
			t.Errorf("%q\nreal %q\nours %q", request, a, b)
		}
	}
}

// dump asks again while the real server's own crawler is at work.
func (w *wire) dump(t *testing.T, request string) string {
	for {
		first := w.until(t, request, "\n")
		switch {
		case strings.HasPrefix(first, "BUSY"):
		case first == "END\r\n":
			return first
		default:
			return first + w.until(t, "", "END\r\n")
		}
	}
}

func again(t *testing.T, w *wire) *wire {
	_ = w.Close()
	return dial(t, w.RemoteAddr().String())
}

// forgetAccess drops the time of the last access, which the real server keeps
// coarsely, and the size class, which has no meaning here.
func forgetAccess(s string) string {
	return regexp.MustCompile(` la=\d+| cls=\d+`).ReplaceAllString(s, "")
}

func TestServer_HasTheItemLimitOfTheRealOne(t *testing.T) {
	needReal(t)
	real, ours, closeAll := pair(t)
	defer closeAll()
	for _, flags := range []string{"0", "5"} {
		for n := 1<<20 - 72; n <= 1<<20-56; n++ {
			request := fmt.Sprintf("set kk %s 0 %d\r\n%s\r\n", flags, n, strings.Repeat("v", n))
			if a, b := real.ask(t, request), ours.ask(t, request); a != b {
				t.Fatalf("%d bytes, flags %s: real %q, ours %q", n, flags, a, b)
			}
		}
	}
}

func TestServer_AuthenticatesLikeTheRealOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rs := serverstest.Memcached(t, "-Y", file)
	serverstest.Real(t, rs)
	mine := memcachedtest.New(memcachedtest.Config{Users: map[string]string{"ann": "secret"}})
	if err := mine.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := mine.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, requests := range [][]string{
		{"set auth 0 0 10\r\nann secret\r\n", "version\r\n"},
		{"set auth 0 0 9\r\nann wrong\r\n", "version\r\n"},
		{"set auth 0 0 10\r\nbob secret\r\n", "version\r\n"},
		{"set auth 0 0 3\r\nann\r\n"},
		{"set auth 0 0\r\n"},
		{"set auth 0 0 x\r\n"},
		{"get a\r\n", "version\r\n"},
	} {
		real, ours := dial(t, rs.Addr()), dial(t, mine.Addr())
		for _, request := range requests {
			if a, b := real.until(t, request, "\n"), ours.until(t, request, "\n"); a != b {
				t.Errorf("%q\nreal %q\nours %q", request, a, b)
			}
		}
		_, _ = real.Close(), ours.Close()
	}
}

// until sends the request and reads lines up to the end given.
func (w *wire) until(t *testing.T, request, end string) string {
	if err := w.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		line, err := w.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q: %v after %q", request, err, b.String())
		}
		b.WriteString(line)
	}
	return b.String()
}
