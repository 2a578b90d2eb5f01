package tier

import "sync"

// linkEvents is what happened to the link and the Observer has not been told of yet. The source holds
// up what it hears, from all of its connections, until the cache has taken the last thing: an Observer
// that is slow, or asks the cache, must not stand in that way.
type linkEvents struct {
	mu    sync.Mutex
	queue []Event
	wake  chan struct{}
}

// linkEventsKept is how many wait at most: some minutes of a link that goes up and down, of which
// nobody would read more.
const linkEventsKept = 1024

// observeLink has the Observer told of ev, after what came before it. The oldest are lost where it is
// too far behind.
func (c *Cache[V]) observeLink(ev Event) {
	if c.cfg.Observer == nil {
		return
	}
	q := &c.linkEvents
	q.mu.Lock()
	if len(q.queue) >= linkEventsKept {
		q.queue = q.queue[1:]
	}
	q.queue = append(q.queue, ev)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// tellLinkEvents tells the Observer until the cache is closed, and then of what is left.
func (c *Cache[V]) tellLinkEvents() {
	for open := true; open; {
		select {
		case <-c.linkEvents.wake:
		case <-c.life.Done():
			open = false
		}
		for _, ev := range c.linkEvents.take() {
			c.observe(c.life, ev)
		}
	}
}

func (q *linkEvents) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.queue
	q.queue = nil
	return events
}
