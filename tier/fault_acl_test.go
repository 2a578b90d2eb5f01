package tier

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// A user that may not run scripts: leases work by transactions, or nothing is stored; either way
// readers are answered, nothing stale stays, the tier stays in use, and Health says what is amiss.
func TestFault_UserWithoutScriptsIsServedAndNamed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		at     redis.LeaseKey
		denied []any
		fills  bool
		why    string
	}{
		{"in the data key", redis.InData, []any{"-eval", "-evalsha"}, true, "WATCH and MULTI"},
		{"separate", redis.Separate, []any{"-eval", "-evalsha"}, true, "WATCH and MULTI"},
		{"no transactions either", redis.InData, []any{"-eval", "-evalsha", "-watch", "-multi"}, false, "nothing that is loaded is stored"},
		{"separate, no transactions either", redis.Separate, []any{"-eval", "-evalsha", "-watch", "-multi"}, false, "nothing that is loaded is stored"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			srv := serverstest.Redis(t)
			serverstest.Real(t, srv)
			o := redis.Options(srv.Addr())
			o.ReadTimeout, o.WriteTimeout, o.PoolTimeout, o.DialTimeout = faultRecover, faultRecover, faultRecover, faultRecover
			client := goredis.NewClient(o)
			t.Cleanup(func() { _ = client.Close() })
			if err := client.Do(ctx, append([]any{"acl", "setuser", "default"}, row.denied...)...).Err(); err != nil {
				t.Fatal(err)
			}
			s, err := redis.New(client, redis.Config{LeaseKey: row.at})
			if err != nil {
				t.Fatal(err)
			}
			patient := func(cfg *Config[string]) {
				cfg.Remotes[0].Timeout, cfg.Load.Lease, cfg.Load.Wait = faultRecover, 200*time.Millisecond, 0
			}
			c, src := shaky(t, s, patient)
			answered(t, c, 60, faultRecover)
			answered(t, c, 60, faultRecover)
			if st := c.Stats().Remotes[0]; row.fills != (st.Fills == 60) || !row.fills && st.Fills != 0 {
				t.Errorf("%d fills", st.Fills)
			}
			h := c.Health().Remotes[0]
			if !strings.Contains(strings.Join(h.Warnings, "; "), row.why) || h.Breaker != "closed" {
				t.Errorf("health %+v does not name the reason, or takes the tier for sick", h)
			}

			// A load from before an invalidation.
			other, _ := shaky(t, s, patient)
			v, err := c.GetOrLoad(ctx, "k", func(ctx context.Context, key string) (string, error) {
				src.set("k", "new")
				return "old", other.Invalidate(ctx, key)
			})
			want(t, v, err, "old")
			if _, err := other.Lookup(ctx, "k"); !errors.Is(err, ErrMiss) {
				t.Errorf("the old value was stored, %v", err)
			}
			v, err = c.Get(ctx, "k")
			want(t, v, err, "new")

			if err := c.Set(ctx, "k", "set"); err != nil && row.fills {
				t.Error(err)
			}
			if err := c.SetMany(ctx, map[string]string{"k": "many", "m": "many"}); err != nil && row.fills {
				t.Error(err)
			}
			many, err := c.GetMany(ctx, []string{"k", "m"})
			if row.fills && (err != nil || many["k"] != "many" || many["m"] != "many") {
				t.Errorf("got %v, %v after SetMany", many, err)
			}
			if err := c.Invalidate(ctx, "k", "m"); err != nil {
				t.Error(err)
			}
			if _, err := other.Lookup(ctx, "m"); !errors.Is(err, ErrMiss) {
				t.Errorf("got %v after an invalidation of several", err)
			}
			hold := c.DeleteWith(ctx, "k", DeleteOptions{HoldOff: time.Hour})
			if hold != nil && row.fills {
				t.Error(hold)
			}
			if _, err := s.Get(ctx, "t:k"); row.fills && !errors.Is(err, backends.ErrHeldOff) {
				t.Errorf("got %v from a key that is held off", err)
			}
		})
	}
}
