package servers

import (
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/internal/memcachedtest"
)

// embeddedMemcached is the stand-in for a memcached.
type embeddedMemcached struct {
	server *memcachedtest.Server // nil when not running
}

func (e *embeddedMemcached) start(addr string) error {
	if e.server != nil {
		return errors.New("servers: the embedded memcached runs already")
	}
	s := memcachedtest.New(memcachedtest.Config{})
	if err := s.Listen(addr); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	e.server = s
	return nil
}

func (e *embeddedMemcached) stop() error { return e.kill() }

func (e *embeddedMemcached) kill() error {
	if e.server == nil {
		return nil
	}
	err := e.server.Close()
	e.server = nil
	return err
}

func (e *embeddedMemcached) pause() error  { return errNoProcess }
func (e *embeddedMemcached) resume() error { return errNoProcess }
func (e *embeddedMemcached) pid() int      { return 0 }
func (e *embeddedMemcached) log() string   { return "" }
