package tier

import (
	"sync"
	"time"
)

// maxFailed bounds how many failed loads are remembered; beyond it all are forgotten, which
// costs some loads more.
const maxFailed = 1 << 14

// failed remembers, for Load.ErrorTTL, which loads failed and how.
type failed struct {
	ttl time.Duration // 0: remembers nothing
	now func() int64  // ns

	mu   sync.Mutex
	errs map[string]failure
}

type failure struct {
	err   error
	until int64
}

// remember keeps err for key.
func (f *failed) remember(key string, err error) {
	if f.ttl == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errs == nil || len(f.errs) >= maxFailed {
		f.errs = make(map[string]failure)
	}
	f.errs[key] = failure{err: err, until: f.now() + int64(f.ttl)}
}

// recall returns how the load of key failed a moment ago; nil if it did not.
func (f *failed) recall(key string) error {
	if f.ttl == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.errs[key]
	switch {
	case !ok:
		return nil
	case f.now() >= e.until:
		delete(f.errs, key)
		return nil
	}
	return e.err
}

// forget drops what is remembered of keys: they have changed since.
func (f *failed) forget(keys []string) {
	if f.ttl == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		delete(f.errs, k)
	}
}
