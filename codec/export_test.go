package codec

import "encoding/binary"

// Without returns f with one guard taken away, so that a test can show that it would see the
// damage.
func Without[V any](f *Framer[V], guard string) *Framer[V] {
	g := *f
	switch guard {
	case "checksum":
		g.off.checksum = true
	case "binding":
		g.off.binding = true
	case "bound":
		g.off.bound = true
	case "downgrade":
		g.off.downgrade = true
	case "recovery":
		g.off.recovery = true
	default:
		panic("no guard " + guard)
	}
	return &g
}

// Reseal returns frame, which was not encrypted, with a checksum that fits what it now holds.
func Reseal[V any](f *Framer[V], key string, frame []byte) []byte {
	body := frame[:len(frame)-checksumLen]
	return binary.BigEndian.AppendUint64(body, f.sum(key, body))
}
