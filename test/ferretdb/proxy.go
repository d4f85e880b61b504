package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The wire protocol: every message starts with its length, two ids and an
// opcode, little-endian 32-bit each.
const (
	headerSize = 16
	maxMessage = 48_000_000 // maxMessageSizeBytes of MongoDB
	opMsg      = 2013
	moreToCome = 1 << 1 // flag of OP_MSG: no reply follows
)

// answerTimeout bounds one exchange with the server, so that one that hangs
// fails one connection and not all of them.
const answerTimeout = time.Minute

// proxy passes messages to a server one at a time over all connections.
type proxy struct {
	back string // host:port of the server
	log  *slog.Logger
	turn sync.Mutex // held from a message to its answer
}

// serve accepts connections until ctx is done, and returns when all of them are
// closed. It closes l.
func (p *proxy) serve(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the connections before they are waited for
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		client, err := l.Accept()
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		open.Go(func() {
			if err := p.pass(ctx, client); err != nil && ctx.Err() == nil {
				p.log.Warn("connection closed", "error", err)
			}
		})
	}
}

// pass serves one client on a server connection of its own, until either
// closes.
func (p *proxy) pass(ctx context.Context, client net.Conn) error {
	defer func() { _ = client.Close() }()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.back)
	if err != nil {
		return fmt.Errorf("dial server: %w", err)
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	for {
		// The client's side is read and written outside the turn: a slow client
		// holds up nobody.
		request, err := readMessage(client)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		answer, err := p.exchange(server, request)
		if err != nil {
			return err
		}
		if _, err := client.Write(answer); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
}

// exchange sends one request and returns its answer, nil where none is due.
func (p *proxy) exchange(server net.Conn, request []byte) ([]byte, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := server.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	if _, err := server.Write(request); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	if !answered(request) {
		return nil, nil
	}
	answer, err := readMessage(server)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return answer, nil
}

// readMessage reads one whole message; io.EOF where the stream ends before it.
func readMessage(r io.Reader) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header[:])
	if size < headerSize || size > maxMessage {
		return nil, fmt.Errorf("message of %d bytes", size)
	}
	message := make([]byte, size)
	copy(message, header[:])
	if _, err := io.ReadFull(r, message[headerSize:]); err != nil {
		return nil, fmt.Errorf("message cut short: %w", err)
	}
	return message, nil
}

// answered reports whether the server answers a request.
func answered(request []byte) bool {
	if binary.LittleEndian.Uint32(request[12:]) != opMsg || len(request) < headerSize+4 {
		return true
	}
	return binary.LittleEndian.Uint32(request[headerSize:])&moreToCome == 0
}
