package bulk

import (
	"fmt"
	"strings"
)

// Filter says which keys are wanted and what they are called in the target. The zero value is
// every key, as it is.
type Filter struct {
	Prefix string // keys begin with it
	Match  string // and match this pattern, as Redis has it: * ? [a-z] [^a] \
	Except string // and do not begin with this; "" = no exception

	StripPrefix string // taken off; keys without it are left out
	AddPrefix   string // put in front, after that

	copies string  // what the names of copies begin with, if the source lists them among its keys
	of     *Filter // this one leads back what that one renamed
}

// keeps reports whether the key is wanted.
func (f *Filter) keeps(key string) bool {
	return strings.HasPrefix(key, f.Prefix) && strings.HasPrefix(key, f.StripPrefix) &&
		(f.Except == "" || !strings.HasPrefix(key, f.Except)) &&
		(f.copies == "" || !strings.HasPrefix(key, f.copies)) &&
		(f.Match == "" || glob(f.Match, key)) &&
		(f.of == nil || f.of.keeps(f.rename(key)))
}

// without returns f for a source that shares servers with the target: its list then holds copies
// too, which must not be copied in their turn. They are told by AddPrefix, unless the keys that
// are wanted begin with it themselves.
func (f Filter) without(shared bool) Filter {
	if shared && !strings.HasPrefix(f.StripPrefix, f.AddPrefix) {
		f.copies = f.AddPrefix
	}
	return f
}

// back returns the filter for the keys of the target: it keeps those that a copy can have made,
// and renames them to what they are called in the source.
func (f *Filter) back(shared bool) Filter {
	return Filter{StripPrefix: f.AddPrefix, AddPrefix: f.StripPrefix, of: f}.without(shared)
}

// rename returns the key's name in the target.
func (f *Filter) rename(key string) string {
	return f.AddPrefix + strings.TrimPrefix(key, f.StripPrefix)
}

// pattern returns what SCAN can leave out by itself; "" = nothing.
func (f *Filter) pattern() string {
	prefix := f.Prefix
	if len(f.StripPrefix) > len(prefix) {
		prefix = f.StripPrefix
	}
	switch {
	case f.Match != "":
		return f.Match
	case prefix == "":
		return ""
	}
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`).Replace(prefix) + "*"
}

// String identifies the filter in a state file.
func (f *Filter) String() string {
	s := fmt.Sprintf("prefix=%q match=%q strip=%q add=%q", f.Prefix, f.Match, f.StripPrefix, f.AddPrefix)
	if f.Except != "" {
		s += fmt.Sprintf(" except=%q", f.Except)
	}
	return s
}

// glob reports whether s matches pattern by the rules of Redis (util.c, stringmatchlen): unlike
// in paths, * and ? take any byte.
func glob(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			pattern = strings.TrimLeft(pattern, "*")
			if pattern == "" {
				return true
			}
			for i := 0; i <= len(s); i++ {
				if glob(pattern, s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
			pattern, s = pattern[1:], s[1:]
			continue
		case '[':
			if s == "" {
				return false
			}
			ok, rest := class(pattern[1:], s[0])
			if !ok {
				return false
			}
			pattern, s = rest, s[1:]
			continue
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
		}
		if s == "" || s[0] != pattern[0] {
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// class matches c against what follows a '[' and returns the pattern behind the ']'.
func class(p string, c byte) (ok bool, rest string) {
	not := strings.HasPrefix(p, "^")
	if not {
		p = p[1:]
	}
	for p != "" && p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) > 1:
			ok = ok || p[1] == c
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			lo, hi := min(p[0], p[2]), max(p[0], p[2])
			ok = ok || lo <= c && c <= hi
			p = p[3:]
		default:
			ok = ok || p[0] == c
			p = p[1:]
		}
	}
	return ok != not, strings.TrimPrefix(p, "]")
}
