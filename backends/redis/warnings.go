package redis

import (
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Warnings returns what is set on client that will hurt a cache, one sentence each; none means
// that nothing is. [Options], [ClusterOptions], [FailoverOptions] and [Open] make clients
// without any.
func Warnings(client goredis.UniversalClient) []string {
	var w warnings
	switch c := client.(type) {
	case *goredis.Client:
		o := c.Options()
		w.common(o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout)
		if o.ClientSideCache != nil || o.ClientSideCacheConfig != nil {
			w.add("ClientSideCache is set: reads may be answered from this process's memory after the key was deleted")
		}
	case *goredis.ClusterClient:
		o := c.Options()
		pool := o.PoolTimeout
		if pool == 0 {
			pool = o.ReadTimeout + time.Second // what the nodes' clients will make of it
		}
		w.common(o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.DialTimeout, o.ReadTimeout, o.WriteTimeout, pool)
		if o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			w.add("reads may go to replicas (ReadOnly, RouteByLatency or RouteRandomly): a read after a delete may find the old value")
		}
	default:
		w.add("the settings of a %T cannot be checked; compare them with Options", client)
	}
	return w
}

// Warnings implements [backends.Warner]: those of the client, and what the server was found to
// lack.
func (s *Store) Warnings() []string {
	w := append(warnings(nil), s.warnings...)
	if s.noNXGet.Load() {
		w.add("the server refuses SET with NX and GET (Redis before 7.0): leases are acquired by a script")
	}
	switch {
	case s.noScripts.Load() && s.noFillAt.Load() != 0:
		w.add("the server refuses EVALSHA or EVAL, and WATCH and MULTI too (an ACL, or a proxy): nothing that is loaded is stored, since no fill could be fenced")
	case s.noScripts.Load():
		w.add("the server refuses EVALSHA or EVAL (an ACL, or a proxy): leases are filled by WATCH and MULTI in several round trips, and with LeaseKey Separate acquired in two; compare-and-swap, counters, touch and writes by version fail")
	}
	return w
}

type warnings []string

func (w *warnings) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

// common looks at what standalone and cluster clients share, after the client has put its
// defaults in: no retries is then 0 or -1, no timeout 0 or -1.
func (w *warnings) common(ctxTimeout bool, retries, dials int, dial, read, write, pool time.Duration) {
	if !ctxTimeout {
		w.add("ContextTimeoutEnabled is false: deadlines of callers are ignored")
	}
	if retries > 0 {
		w.add("MaxRetries is %d: a slow server makes calls last that much longer, and repeats plain writes; set it to -1", retries)
	}
	if dials > oneDial {
		w.add("DialerRetries is %d: a dead server costs that many dials before it fails; set it to 1", dials)
	}
	for _, t := range [...]struct {
		name string
		d    time.Duration
	}{{"DialTimeout", dial}, {"ReadTimeout", read}, {"WriteTimeout", write}, {"PoolTimeout", pool}} {
		switch {
		case t.d <= 0:
			w.add("%s is off: a server that hangs holds callers for ever", t.name)
		case t.d > slowTimeout:
			w.add("%s is %v: a server that hangs holds callers for that long; %v is enough for a cache", t.name, t.d, timeout)
		}
	}
}
