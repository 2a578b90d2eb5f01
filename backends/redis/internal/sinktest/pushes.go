package sinktest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"
)

// Never has a proxy of [LatePushes] keep invalidations for good.
const Never = -1

// LatePushes returns the address of a proxy in front of the Redis at server that passes everything,
// but an invalidation only with the answer that comes late answers after it; with [Never], not at all.
// The test ends it.
func LatePushes(t testing.TB, server string, late int) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			cn, err := lis.Accept()
			if err != nil {
				return
			}
			go pass(cn, server, late)
		}
	}()
	return lis.Addr().String()
}

// pass joins one client to the server until either hangs up.
func pass(cn net.Conn, server string, late int) {
	defer cn.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, cn)
		_ = up.Close()
	}()
	r := bufio.NewReader(up)
	var held []byte
	left := 0 // answers until what is held goes on
	for {
		f, err := frame(r, nil)
		if err != nil {
			return
		}
		if f[0] == '>' && bytes.Contains(f, []byte("\r\ninvalidate\r\n")) {
			if late != Never {
				held, left = append(held, f...), late
			}
			continue
		}
		if left--; left <= 0 {
			f, held = append(held, f...), nil
		}
		if _, err := cn.Write(f); err != nil {
			return
		}
	}
}

// frame appends the next reply to dst, whole and as it came.
func frame(r *bufio.Reader, dst []byte) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return dst, err
	}
	dst = append(dst, line...)
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:]))) // -1 for what is absent
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			text := make([]byte, n+2)
			_, err = io.ReadFull(r, text)
			dst = append(dst, text...)
		}
		return dst, err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		n = 0
	}
	for ; n > 0 && err == nil; n-- {
		dst, err = frame(r, dst)
	}
	return dst, err
}
