package memcached

import "github.com/hearthcache/hearth/backends"

var _ backends.Locator = (*Store)(nil)

// Locate implements [backends.Locator]. With a DialContext of its own nobody knows where an
// address leads.
func (s *Store) Locate(key string) (server, name string, ok bool) {
	if key == "" || s.conf.DialContext != nil {
		return "", "", false
	}
	p := s.place(key)
	return s.conf.Servers[p.server].Addr, p.wire, true
}
