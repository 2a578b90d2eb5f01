package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are picked below the ranges from which systems take the ports of
// outgoing connections (Linux 32768 and up, others 49152 and up). A port inside
// them can be taken by any client, even by one that dials the dead server
// itself: TCP then connects the socket to itself and the server cannot come back.
const (
	lowestPort  = 12000
	highestPort = 32000
)

// freeAddr returns a loopback address on which nobody listens right now.
func freeAddr() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(highestPort-lowestPort))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("servers: %w", err)
		}
		return addr, nil
	}
	return "", errors.New("servers: no free loopback port")
}
