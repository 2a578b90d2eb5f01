package backends

// Token identifies one version of one key in one store, so that a later write can say "only if
// it is still this". It is opaque, comparable and costs no allocation. The zero Token names no
// version and never matches.
//
// A Token that came through a composite remembers which member it came from, see [Token.Member].
type Token struct {
	id    uint64 // a number the server gave (memcached's casid, a sequence)
	value string // or the bytes themselves (Redis compares values)
	kind  uint8
	path  uint32 // members on the way down, innermost in the low byte, 1-based
}

const (
	kindNone uint8 = iota
	kindID
	kindValue
)

// IDToken makes a Token from a version number that the server gave.
func IDToken(id uint64) Token { return Token{id: id, kind: kindID} }

// ValueToken makes a Token for servers that compare the value itself. v may share memory with
// the item's Value.
func ValueToken(v string) Token { return Token{value: v, kind: kindValue} }

// IsZero reports whether t names no version.
func (t Token) IsZero() bool { return t.kind == kindNone }

// ID returns the version number and whether t holds one.
func (t Token) ID() (uint64, bool) { return t.id, t.kind == kindID }

// Value returns the value to compare with and whether t holds one.
func (t Token) Value() (string, bool) { return t.value, t.kind == kindValue }

// At returns t marked as coming from member i (0 to 254) of a composite. Composites may nest
// four deep.
func (t Token) At(i int) Token {
	t.path = t.path<<8 | uint32(i+1)
	return t
}

// Member takes the outermost mark off: the member index, and the token that this member knows.
// ok is false for a token that no composite has marked.
func (t Token) Member() (i int, inner Token, ok bool) {
	if t.path == 0 {
		return 0, t, false
	}
	i = int(t.path&0xff) - 1
	t.path >>= 8
	return i, t, true
}
