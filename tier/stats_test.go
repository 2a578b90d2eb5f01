package tier

import (
	"context"
	"errors"
	"testing"
)

func TestStats_CountFillsThatTheEpochKeptOutOfL1(t *testing.T) {
	src, p := newSource("k", "old"), newProbe()
	c := open(t, over(nil, p))
	load := func(ctx context.Context, key string) (string, error) {
		v, err := src.Load(ctx, key)
		if v == "old" { // it changes while it is being loaded
			src.set("k", "new")
			if err := c.Invalidate(ctx, key); err != nil {
				t.Error(err)
			}
		}
		return v, err
	}
	for range 3 {
		if _, err := c.GetOrLoad(t.Context(), "k", load); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Stats().L1.Fenced; n != 1 {
		t.Errorf("%d fenced, want the one load from before the invalidation", n)
	}
}

func TestHealth_SaysWhatL1Does(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Config[string])
		down   bool
		want   string
	}{
		{"no invalidator", func(c *Config[string]) { c.Local.Invalidator = nil }, false, "serving"},
		{"link up", func(*Config[string]) {}, false, "serving"},
		{"link down", func(*Config[string]) {}, true, "bypassed"},
		{"link down, short", func(c *Config[string]) { c.Local.WhenDown = ShortTTL }, true, "short"},
		{"link down, serve", func(c *Config[string]) { c.Local.WhenDown = Serve }, true, "blind"},
		{"disabled", func(c *Config[string]) { c.Local.Disabled = true }, false, "off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			link := newLink()
			cfg := linked(link, newSource("k", "v"), newProbe())
			row.change(&cfg)
			c := open(t, cfg)
			if cfg.Local.Invalidator != nil && !cfg.Local.Disabled {
				sink := link.up()
				if row.down {
					sink.Down(errors.New("cut"))
				}
			}
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "v")
			h := c.Health().L1
			if h.State != row.want {
				t.Errorf("state %q, want %q", h.State, row.want)
			}
			if kept := row.want != "off" && row.want != "bypassed"; kept != (h.Entries == 1) || kept != (h.Fill > 0) {
				t.Errorf("%+v", h)
			}
		})
	}
	c := open(t, over(nil))
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := c.Health().L1; h.State != "closed" {
		t.Errorf("after Close: %+v", h)
	}
}
