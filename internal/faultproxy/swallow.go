package faultproxy

// SwallowReply loses the next reply from the server, on whichever connection it
// comes: the server has carried out the command and the client cannot know. With
// hangUp the client's connection is reset instead of the reply; without it, it
// stays open and silent, and later replies pass.
//
// A reply is what the proxy reads from the server at once: one command in
// flight makes it exact. The returned channel is closed when the reply has
// been lost.
func (p *Proxy) SwallowReply(hangUp bool) <-chan struct{} {
	s := swallowing{hangUp: hangUp, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = append(p.swallow, s)
	return s.done
}

// swallowing is one reply to be lost.
type swallowing struct {
	hangUp bool
	done   chan struct{}
}

// swallow loses the chunk at hand if one is to be lost.
func (e *effect) swallow() (swallowed, alive bool) {
	p := e.link.proxy
	p.mu.Lock()
	if len(p.swallow) == 0 {
		p.mu.Unlock()
		return false, true
	}
	s := p.swallow[0]
	p.swallow = p.swallow[1:]
	p.mu.Unlock()
	if s.hangUp {
		e.link.reset()
	}
	close(s.done)
	return true, !s.hangUp
}
