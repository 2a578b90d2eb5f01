package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/bench/l1"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/tier"
)

// miss measures what a cache adds to a load that costs nothing: every key is new. Nothing is
// remote.
func (r *run) miss() error {
	ctx := context.Background()
	c, err := tier.New(tier.Config[*l1.Value]{
		Namespace: "miss", Local: tier.Local[*l1.Value]{MaxBytes: 16 << 20, Cost: func(*l1.Value) int64 { return 100 }},
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	ot := otter.Must(&otter.Options[string, *l1.Value]{MaximumSize: 50_000, ExpiryCalculator: otter.ExpiryWriting[string, *l1.Value](time.Minute)})
	defer ot.StopAllGoroutines()
	st := sturdyc.New[*l1.Value](50_000, 64, time.Minute, 10)
	found := new(l1.Value)
	load := func(context.Context, string) (*l1.Value, error) { return found, nil }
	next := 0
	fresh := func(get func(key string) error) func(int) {
		return func(n int) {
			for range n {
				next++
				if err := get(fmt.Sprint("new:", next)); err != nil {
					panic(err)
				}
			}
		}
	}
	res := r.measure("miss and load", r.plan,
		side.Variant{Name: "otter Get", Op: fresh(func(key string) error {
			_, err := ot.Get(ctx, key, otter.LoaderFunc[string, *l1.Value](load))
			return err
		})},
		side.Variant{Name: "sturdyc GetOrFetch", Op: fresh(func(key string) error {
			_, err := st.GetOrFetch(ctx, key, func(ctx context.Context) (*l1.Value, error) { return load(ctx, key) })
			return err
		})},
		side.Variant{Name: "hearth", Op: fresh(func(key string) error {
			_, err := c.GetOrLoad(ctx, key, load)
			return err
		})},
	)
	r.cost("miss", "a load that costs nothing: otter", res, "hearth", "otter Get", shown)
	r.cost("miss", "a load that costs nothing: sturdyc", res, "hearth", "sturdyc GetOrFetch", shown)
	return r.leased()
}

// burst puts new keys as fast as they go, into room for twice as many, and looks for them.
func (r *run) burst() error {
	n := 1_000_000
	plan := side.Plan{Rounds: 3}
	if r.quick {
		n, plan.Rounds = 200_000, 2
	}
	keys := l1.Keys(n)
	missing := map[string]int{}
	var variants []side.Variant
	for _, peer := range l1.Peers {
		var p l1.Peer
		variants = append(variants, side.Variant{
			Name: peer.Name, Fixed: n,
			Before: func() { p = peer.New(2 * n) },
			Op: func(int) {
				for _, k := range keys {
					p.Put(k, &l1.Value{ID: 1})
				}
			},
			After: func() {
				for _, k := range keys {
					if p.Get(k) == nil {
						missing[peer.Name]++
					}
				}
				p.Wait()
				p.Close()
			},
		})
	}
	title := fmt.Sprintf("burst of %d sets", n)
	res := r.measure(title, plan, variants...)
	share := func(name string) float64 { return 100 - 100*float64(missing[name])/float64(n*len(res[0].Samples)) }
	for _, peer := range l1.Peers {
		fmt.Fprintf(r.out, "  %-14s %6.2f %% readable right after\n", peer.Name, share(peer.Name))
	}
	r.add("burst", title+": readable right after, ristretto", "%", share("hearth-l1"), share("ristretto"), share("hearth-l1")/100, atLeast(1, 0.999))
	r.speed("burst", title+": rate of otter", res, "hearth-l1", "otter", atLeast(0.5, 0.3))
	r.speed("burst", title+": rate of otter with TTL", res, "hearth-l1", "otter-ttl", shown)
	return nil
}

// memory counts live bytes per entry, without keys, which are shared.
func (r *run) memory() error {
	n := 1_000_000
	if r.quick {
		n = 200_000
	}
	keys := l1.Keys(n)
	per := map[string]float64{}
	count := func(name string, open func(n int) l1.Peer) {
		before := live()
		p := open(n)
		p.Fill(keys)
		per[name] = float64(live()-before) / float64(n)
		fmt.Fprintf(r.out, "memory  %-14s %4.0f B/entry\n", name, per[name])
		p.Close()
	}
	for _, peer := range l1.Peers {
		count(peer.Name, peer.New)
	}
	count("hearth", l1.NewCache)
	h := per["hearth"]
	against := func(name string, hearth, peer float64, l limit) {
		r.add("memory", name, "B", hearth, peer, hearth-peer, l)
	}
	against("bytes per entry, a whole tier.Cache above ristretto with TTL", h, per["ristretto-ttl"], atMost(32, 48))
	against("bytes per entry, a whole tier.Cache above ristretto without TTL", h, per["ristretto"], shown)
	against("bytes per entry, backends/ristretto alone with the value inlined above ristretto with TTL", per["hearth-l1"], per["ristretto-ttl"], shown)
	r.add("memory", "bytes per entry, a whole tier.Cache against otter with TTL", "B", h, per["otter-ttl"], h/per["otter-ttl"], shown)
	return nil
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// order is a record of the size that services keep.
type order struct {
	ID       uint64            `json:"id" msgpack:"id" cbor:"id"`
	Customer string            `json:"customer" msgpack:"customer" cbor:"customer"`
	Created  time.Time         `json:"created" msgpack:"created" cbor:"created"`
	Lines    []line            `json:"lines" msgpack:"lines" cbor:"lines"`
	Notes    map[string]string `json:"notes" msgpack:"notes" cbor:"notes"`
	Total    float64           `json:"total" msgpack:"total" cbor:"total"`
}

type line struct {
	SKU      string `json:"sku" msgpack:"sku" cbor:"sku"`
	Quantity int    `json:"quantity" msgpack:"quantity" cbor:"quantity"`
	Cents    int64  `json:"cents" msgpack:"cents" cbor:"cents"`
}

// codecs compares encoding and decoding of one record of about half a kilobyte. The peers'
// formats are msgpack (go-redis/cache) and encoding/json (sturdyc); hearth's are framed, with
// checksum and lifetimes.
func (r *run) codecs() error {
	o := order{ID: 42, Customer: "customer-00042", Created: time.Unix(1_700_000_000, 0).UTC(), Total: 123.45, Notes: map[string]string{"gift": "no", "channel": "web"}}
	for i := range 8 {
		o.Lines = append(o.Lines, line{SKU: fmt.Sprintf("SKU-%08d", i), Quantity: i + 1, Cents: int64(1999 * (i + 1))})
	}
	h := codec.Header{Created: 1_700_000_000_000, Expires: 1_700_000_300_000}
	var encode, decode []side.Variant
	var failed error
	both := func(name string, enc func() ([]byte, error), dec func(p []byte) error) {
		p, err := enc()
		if err == nil {
			err = dec(p)
		}
		if err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(r.out, "codecs  %-22s %4d bytes\n", name, len(p))
		encode = append(encode, side.Variant{Name: name, Op: func(n int) {
			for range n {
				if _, err := enc(); err != nil {
					panic(err)
				}
			}
		}})
		decode = append(decode, side.Variant{Name: name, Op: func(n int) {
			for range n {
				if err := dec(p); err != nil {
					panic(err)
				}
			}
		}})
	}
	both("msgpack v5", func() ([]byte, error) { return msgpack.Marshal(&o) }, func(p []byte) error { var v order; return msgpack.Unmarshal(p, &v) })
	both("encoding/json", func() ([]byte, error) { return json.Marshal(&o) }, func(p []byte) error { var v order; return json.Unmarshal(p, &v) })
	both("fxamacker/cbor", func() ([]byte, error) { return cbor.Marshal(&o) }, func(p []byte) error { var v order; return cbor.Unmarshal(p, &v) })
	for _, c := range []struct {
		name  string
		codec codec.Codec[order]
	}{{"hearth json frame", codec.JSON[order]()}, {"hearth cbor frame", codec.CBOR[order]()}} {
		f, err := codec.New(codec.Config[order]{Codec: c.codec, Namespace: "versus"})
		if err != nil {
			return err
		}
		both(c.name, func() ([]byte, error) { return f.Append(nil, "key", h, o) }, func(p []byte) error { _, _, err := f.Decode("key", p); return err })
	}
	if failed != nil {
		return failed
	}
	enc, dec := r.measure("encode", r.plan, encode...), r.measure("decode", r.plan, decode...)
	for _, c := range []struct{ name, hearth, peer string }{
		{"JSON with frame: encoding/json", "hearth json frame", "encoding/json"},
		{"CBOR with frame: msgpack v5", "hearth cbor frame", "msgpack v5"},
	} {
		r.cost("codecs", "encode "+c.name, enc, c.hearth, c.peer, shown)
		r.cost("codecs", "decode "+c.name, dec, c.hearth, c.peer, shown)
	}
	return nil
}
