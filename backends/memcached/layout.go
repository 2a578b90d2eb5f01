package memcached

import "github.com/hearthcache/hearth/backends"

// Layout tells where a [Store] keeps a key and in what form, for tools that read and write the
// servers by themselves, such as a bulk copier. Safe for concurrent use.
type Layout struct {
	router router
}

// Kind says what a wire key stands for.
type Kind uint8

const (
	// Plain is a key that is sent as it is.
	Plain Kind = iota
	// Hashed is a key that memcached cannot hold; its value names it, if it has a label.
	Hashed
	// Beside is a lease, a tombstone or a refresh right kept beside a key.
	Beside
)

// NewLayout returns the layout of a fleet, or what is wrong with the list.
func NewLayout(r Router, servers []Server) (*Layout, error) {
	c, err := Config{Servers: servers, Router: r}.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Layout{router: newRouter(c.Router, c.Servers)}, nil
}

// Owner returns the index of the server that a wire key belongs to.
func (l *Layout) Owner(wire string) int { return l.router.pick(wire) }

// WireKey returns the key under which the server is asked for key, and whether that is a hash of
// it. It returns [backends.ErrEmptyKey] for the empty key.
func WireKey(key string) (wire string, hashed bool, err error) { return PrefixedWireKey("", key) }

// PrefixedWireKey is [WireKey] of a store with a [Config.Prefix], which stays in front of a hash.
func PrefixedWireKey(prefix, key string) (wire string, hashed bool, err error) {
	switch {
	case key == "":
		return "", false, backends.ErrEmptyKey
	case plain(prefix, key):
		return prefix + key, false, nil
	}
	return prefix + shape(asHash, key), true, nil
}

// plain reports whether memcached can hold key as it is, behind prefix.
func plain(prefix, key string) bool {
	return len(prefix)+len(key) <= maxKey && legal(key) && !shaped(key)
}

// KindOf tells what a wire key stands for.
func KindOf(wire string) Kind {
	switch {
	case !shaped(wire):
		return Plain
	case wire[1] == asHash:
		return Hashed
	}
	return Beside
}

// Pack returns the value to store for a key whose wire key is a hash.
func Pack(key string, value []byte) []byte {
	return place{key: key, hashed: true}.label(value)
}

// Unpack returns the key and the value behind a value that was found under the hashed key wire.
// ok is false where that key cannot be told: counters and keys of more than 512 bytes are kept
// without it, and a label that does not belong to wire is not believed.
func Unpack(wire string, value []byte) (key string, rest []byte, ok bool) {
	key, rest, ok = labelled(value)
	if !ok || shape(asHash, key) != wire {
		return "", nil, false
	}
	return key, rest, true
}
