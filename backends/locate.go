package backends

// Locator is implemented by stores that can tell where an entry is kept, so that whoever is given
// two stores can see that they are the same place. It is no capability: what wraps a store may
// hide it, and then nothing is seen.
type Locator interface {
	// Locate returns the address of the server that keeps key and the name key has there. Two
	// keys with the same address and name are one entry, whichever stores they were asked of.
	// ok is false where the store cannot tell. No server is asked. Safe for concurrent use.
	Locate(key string) (server, name string, ok bool)
}

// Locate implements [Locator], if the store below does.
func (p *prefixed) Locate(key string) (server, name string, ok bool) {
	if l, can := p.store.(Locator); can {
		return l.Locate(p.prefix + key)
	}
	return "", "", false
}
