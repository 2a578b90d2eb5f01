//go:build unix

package main

import (
	"context"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// The machine that this runs on may be busy with other things, and then nothing arrives in time,
// whatever program listens. So beside the caches a control goes the same way as the news: a bare
// message from the client outside, through a server and a proxy that are never disturbed, to a
// goroutine in each process. What it takes longer than it should is the machine's.
const controlEvery = 5 * time.Millisecond

// controlChannel is what the control goes over. Each server has one of its own: the nodes of a
// cluster pass on to each other what is published, by a way that the news do not take.
func controlChannel(addr string) string { return "coherence!control " + addr }

// sendControl sends the time to every Redis until the end.
func sendControl(ctx context.Context, addrs []string) {
	for _, addr := range addrs {
		go func() {
			c := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1})
			defer c.Close()
			for ctx.Err() == nil {
				c.Publish(ctx, controlChannel(addr), strconv.FormatInt(now(), 10))
				time.Sleep(controlEvery)
			}
		}()
	}
}

// hearControl notes in p what comes late, from every Redis.
func hearControl(ctx context.Context, addrs map[string]string, p *pulse) {
	for addr, by := range addrs {
		last := p.follow(controlEvery)
		go func() {
			c := goredis.NewClient(&goredis.Options{Addr: by, Protocol: 2})
			defer c.Close()
			ps := c.Subscribe(ctx, controlChannel(addr))
			defer ps.Close()
			for ctx.Err() == nil {
				m, err := ps.ReceiveMessage(ctx)
				if err != nil {
					return
				}
				if sent, err := strconv.ParseInt(m.Payload, 10, 64); err == nil {
					last.arrived(sent, now())
				}
			}
		}()
	}
}
