package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// message builds an OP_MSG with these flags and body.
func message(flags uint32, body string) []byte {
	m := make([]byte, headerSize+4, headerSize+4+len(body))
	binary.LittleEndian.PutUint32(m, uint32(headerSize+4+len(body)))
	binary.LittleEndian.PutUint32(m[12:], opMsg)
	binary.LittleEndian.PutUint32(m[headerSize:], flags)
	return append(m, body...)
}

// start serves a proxy in front of a server that echoes every message that
// wants an answer, and returns the proxy's address. inFlight is called with the
// number of messages that the server handles at the same time.
func start(t *testing.T, inFlight func(int64)) string {
	t.Helper()
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var handling atomic.Int64
	wg.Go(func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				for {
					m, err := readMessage(c)
					if err != nil {
						return
					}
					inFlight(handling.Add(1))
					handling.Add(-1)
					if answered(m) {
						_, _ = c.Write(m)
					}
				}
			})
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	p := proxy{back: back.Addr().String(), log: slog.New(slog.DiscardHandler)}
	wg.Go(func() {
		if err := p.serve(ctx, front); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel() // closes every connection, including those of the echoing server
		_ = back.Close()
		wg.Wait()
	})
	return front.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOneAtATime(t *testing.T) {
	address := start(t, func(n int64) {
		if n > 1 {
			t.Errorf("%d messages at once", n)
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		c := dial(t, address)
		wg.Go(func() {
			for range 200 {
				want := message(0, "hello")
				if _, err := c.Write(want); err != nil {
					t.Error(err)
					return
				}
				if got, err := readMessage(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("answer %q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNoAnswerDue(t *testing.T) {
	c := dial(t, start(t, func(int64) {}))
	want := message(0, "answer me")
	if _, err := c.Write(append(message(moreToCome, "no answer"), want...)); err != nil {
		t.Fatal(err)
	}
	if got, err := readMessage(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("answer %q, %v", got, err)
	}
}

func TestBadMessages(t *testing.T) {
	address := start(t, func(int64) { t.Error("the server got a bad message") })
	for _, size := range []uint32{0, headerSize - 1, maxMessage + 1, 1 << 31} {
		c := dial(t, address)
		if _, err := c.Write(binary.LittleEndian.AppendUint32(nil, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, headerSize-4)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("a message of %d bytes: read %d, %v, want the connection closed", size, n, err)
		}
	}
}
