package main

import (
	"context"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	goredis "github.com/redis/go-redis/v9"
)

// page writes the rows as Markdown to file, and a chart of those with a goal beside it.
func page(file string, r *run) error {
	chart := strings.TrimSuffix(filepath.Base(file), ".md") + ".svg"
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), chart), []byte(svg(r.rows)), 0o644); err != nil {
		return err
	}
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format, a...) }
	p("# Performance\n\nWritten by `go -C bench run ./cmd/versus -doc ../docs/performance.md`; run it to have the figures of your machine.\n\n")
	p("Everything here is a ratio taken in one interleaved run, the median of the ratios of\nneighbouring rounds, beside the median of each side. Absolute times prove nothing, and differences below a quarter are ties on a machine that does other things as well.\n\n")
	p("![ratios and goals](%s)\n\n## Machine and versions\n\n", chart)
	p("- %s, %d processors for the clients and the servers together, %s/%s, %s\n", processor(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, runtime.Version())
	p("- load of the machine in the last 1, 5 and 15 minutes: %s before the run, %s after it, ours included\n", r.load, load())
	p("- %s\n", versions(r.servers))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, peer := range []string{"ristretto", "otter", "sturdyc", "go-redis", "rueidis", "gomemcache", "msgpack/v5", "cbor", "golang-lru/v2", "ttlcache", "freecache"} {
				if strings.Contains(d.Path, peer) && !strings.Contains(d.Path, "tinylfu") {
					p("- %s %s\n", d.Path, d.Version)
				}
			}
		}
	}
	p("- not served by the module proxy, so not measured: rueidisaside, gocache, jetcache-go\n")
	p("- rounds: %d of %v each\n", r.plan.Rounds, r.plan.Round)
	p("- the whole run took %v\n", time.Since(r.began).Round(time.Second))
	p("\n%s", how)
	unmet(p, r.rows)
	section := ""
	for _, row := range r.rows {
		if row.Section != section {
			section = row.Section
			p("\n## %s\n\n| row | hearth | peer | unit | ratio | goal | guard | | CPU ns/op: hearth | peer | allocs/op: hearth | peer |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n", section)
		}
		goal, guard, verdict := row.verdict()
		hc, ha := row.HearthUse.text()
		pc, pa := row.PeerUse.text()
		p("| %s | %s | %s | %s | %.2f | %s | %s | %s | %s | %s | %s | %s |\n", row.Row, figure(row.Hearth), figure(row.Peer), row.Unit, row.Ratio, goal, guard, verdict, hc, pc, ha, pa)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// unmet lists what misses its goal, with the reason.
func unmet(p func(format string, a ...any), rows []row) {
	p("\n## Rows that miss their goal\n\n")
	none, last := true, ""
	for _, row := range rows {
		if !row.missed() {
			continue
		}
		none = false
		short, why, _ := strings.Cut(row.Why, "; ")
		switch {
		case row.Guard == nil:
		case *row.Guarded:
			short += ", within the guard"
		case row.Tolerated != nil:
			short += fmt.Sprintf(", beyond the guard of %g: a known miss, up to %g is tolerated", *row.Guard, *row.Tolerated)
		default:
			short += fmt.Sprintf(", beyond the guard of %g", *row.Guard)
		}
		p("- **%s**: %s.", row.Row, short)
		if why != "" && why != last {
			p(" Why: %s.", why)
		} else if why != "" {
			p(" As above.")
		}
		last = why
		p("\n")
	}
	if none {
		p("None.\n")
	}
}

const how = `## How the peers are configured

| peer | settings |
|---|---|
| ristretto | ten counters an entry, 64 buffered items, room for four times the keys; with and without a TTL |
| otter | MaximumSize four times the keys; with ExpiryWriting and without |
| sturdyc | 64 shards, room for four times the keys, ten percent eviction; in bulk, entries expire at once, so that every batch is fetched |
| go-redis/cache | TinyLFU of four times the keys in front; values as it keeps them, msgpack and s2 |
| go-redis | defaults, and once with a pool of 100; AutoPipeline with its defaults; client-side caching over RESP3, replies decoded from JSON since it keeps text |
| golang-lru, ttlcache | expirable.NewLRU and ttlcache.New with room for four times the keys and a TTL |
| freecache | room for four times the keys; keeps bytes, so replies are decoded from JSON |
| rueidis | defaults, with client-side caching off for plain reads; "tuned" has MaxFlushDelay 20 us, the author's advice for throughput; DoCache with 512 MiB a connection, replies not decoded |
| gomemcache | 300 idle connections, so that no caller dials |
| hearth, L1 | a whole tier.Cache with a remote tier, room and time raised to that of the peers |
| hearth, Redis and memcached | backends/coalesce over the driver, with timeouts of 3 s as go-redis has them; "on gomemcache" is the default transport of backends/memcached, else its Meta transport |

The 0.5 ms are added by a proxy in a process of its own, which takes processor time for every packet from the
same processors: clients that send few packets, hearth among them, gain from that. Server CPU is that of all threads of the server
divided by the calls. The p99 is over every eighth
call, without the warm-up. Client CPU is that of the whole process, collector included. The row of allocations
is rounded to a twentieth: other goroutines of the process allocate as well.
`

func figure(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%.3g M", x/1e6)
	case x >= 1e4:
		return fmt.Sprintf("%.3g k", x/1e3)
	}
	return fmt.Sprintf("%.4g", x)
}

// load is the machine's, from the system.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], ", ")
}

func versions(m *machines) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c := goredis.NewClient(&goredis.Options{Addr: m.redis.Addr()})
	defer func() { _ = c.Close() }()
	text := "redis"
	if info, err := c.InfoMap(ctx, "server").Result(); err == nil {
		text += " " + info["Server"]["redis_version"]
	}
	mc := memcache.New(m.memcached.Addr())
	defer func() { _ = mc.Close() }()
	if mc.Ping() == nil {
		text += ", memcached " + memcachedVersion(m.memcached.Addr())
	}
	return text
}

// reach is how far beyond its goal a row is, 1 where it is just reached. Where goal or ratio are
// not above zero there is no quotient: the longest bar or none.
func reach(r row) float64 {
	if *r.Goal <= 0 || r.Ratio <= 0 {
		if *r.Met {
			return 3
		}
		return 0
	}
	if r.Bound == "at most" {
		return *r.Goal / r.Ratio
	}
	return r.Ratio / *r.Goal
}

// svg draws each ratio against its goal: the bar is how much better than the goal it is, with the
// line at one.
func svg(rows []row) string {
	var with []row
	for _, r := range rows {
		if r.Goal != nil && r.Failed == "" {
			with = append(with, r)
		}
	}
	const label, scale, height = 470, 120.0, 18
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="%d" font-family="sans-serif" font-size="11">`+"\n", len(with)*height+50)
	fmt.Fprintf(&b, `<text x="10" y="16" font-size="13">How far beyond its goal each row is: right of the line is reached</text>`+"\n")
	for i, r := range with {
		reach := reach(r)
		colour := "#2e7d32"
		switch {
		case !*r.Guarded:
			colour = "#c62828"
		case !*r.Met:
			colour = "#f9a825"
		}
		y := 30 + i*height
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, label-6, y+11, html.EscapeString(r.Row))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.0f" height="%d" fill="%s"/>`, label, y, min(reach, 3)*scale, height-5, colour)
		fmt.Fprintf(&b, `<text x="%.0f" y="%d">%.2f (%s %g)</text>`+"\n", label+min(reach, 3)*scale+4, y+11, r.Ratio, r.Bound, *r.Goal)
	}
	fmt.Fprintf(&b, `<line x1="%.0f" x2="%.0f" y1="24" y2="%d" stroke="black"/></svg>`+"\n", label+scale, label+scale, len(with)*height+34)
	return b.String()
}
