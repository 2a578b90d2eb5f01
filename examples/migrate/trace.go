package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// readTrace reads at most limit keys from a file: gzip of big-endian unsigned integers of width
// bits, without header. Width 0 finds out.
func readTrace(name string, width, limit int) ([]uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("-trace: %w", err)
	}
	defer f.Close()
	keys, err := parseTrace(bufio.NewReader(f), width, limit)
	if err != nil {
		return nil, fmt.Errorf("-trace %s: %w", name, err)
	}
	return keys, nil
}

// parseTrace is readTrace for something open.
func parseTrace(r io.Reader, width, limit int) ([]uint64, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("a trace is a gzip file: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, 8*int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("the file is damaged: %w", err)
	}
	if width == 0 {
		width = guessWidth(raw)
	}
	size := width / 8
	if len(raw)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no multiple of a %d-bit key; -width says how wide keys are", len(raw), width)
	}
	keys := make([]uint64, 0, min(len(raw)/size, limit))
	for ; len(raw) > 0 && len(keys) < limit; raw = raw[size:] {
		if size == 4 {
			keys = append(keys, uint64(binary.BigEndian.Uint32(raw)))
			continue
		}
		keys = append(keys, binary.BigEndian.Uint64(raw))
	}
	if len(keys) == 0 {
		return nil, errors.New("the trace is empty")
	}
	return keys, nil
}

// guessWidth returns 32 or 64. Requests repeat keys, so the right width has many repetitions
// among its keys, and the wrong one few: halves of random 64-bit keys repeat no more than the
// keys do, and pairs of 32-bit keys hardly ever.
func guessWidth(raw []byte) int {
	if len(raw)%8 != 0 {
		return 32
	}
	narrow, wide := distinctShare(raw, 4), distinctShare(raw, 8)
	if wide <= narrow*1.1 {
		return 64
	}
	return 32
}

// distinctShare is the share of different ones among the keys of size bytes.
func distinctShare(raw []byte, size int) float64 {
	const enough = 1 << 17
	seen := make(map[string]struct{})
	n := 0
	for ; len(raw) >= size && n < enough; raw = raw[size:] {
		seen[string(raw[:size])] = struct{}{}
		n++
	}
	return float64(len(seen)) / float64(max(n, 1))
}
