package mongoconversion_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tonearm/internal/conversion/mongoconversion"
)

// The name in a mongodb+srv URI is not looked up when the store is opened.
// After a lookup has failed, the next call tries again.
func TestNameServerDown(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	names, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	go answerNames(names, uint16(server.Addr().(*net.TCPAddr).Port))
	var up atomic.Bool
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if !up.Load() {
			return nil, errors.New("no name server")
		}
		return (&net.Dialer{}).DialContext(ctx, "udp", names.LocalAddr().String())
	}}

	s, err := mongoconversion.Open("mongodb+srv://db.tonearm.test/?tls=false", "tonearm", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open without a name server: %v", err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Ping(ctx); err == nil || !strings.Contains(err.Error(), "no name server") {
		t.Errorf("ping without a name server: %v", err)
	}
	up.Store(true)
	if err := server.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	pinged := make(chan error, 1)
	go func() { pinged <- s.Ping(ctx) }()
	conn, err := server.Accept() // it found the server; that is enough
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	conn.Close()
	if err := <-pinged; err == nil {
		t.Error("ping of a server that says nothing: no error")
	}
}

// answerNames answers DNS queries: the one server of any service is
// node.tonearm.test at this port, and every name has this machine's address.
func answerNames(names net.PacketConn, port uint16) {
	const typeA, typeSRV = 1, 33
	buffer := make([]byte, 512)
	for {
		_, from, err := names.ReadFrom(buffer)
		if err != nil {
			return
		}
		end := 12 // after the header, labels with their lengths
		for buffer[end] != 0 {
			end += int(buffer[end]) + 1
		}
		asked := binary.BigEndian.Uint16(buffer[end+1:])
		question := buffer[12 : end+5]
		var data []byte
		switch asked {
		case typeA:
			data = []byte{127, 0, 0, 1}
		case typeSRV:
			data = append(binary.BigEndian.AppendUint16(make([]byte, 4), port), "\x04node\x07tonearm\x04test\x00"...)
		}
		answer := append([]byte{buffer[0], buffer[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
		if data != nil {
			answer[7] = 1 // answers
			answer = append(answer, 0xc0, 12)
			answer = binary.BigEndian.AppendUint16(answer, asked)
			answer = append(answer, 0, 1, 0, 0, 0, 1)
			answer = append(binary.BigEndian.AppendUint16(answer, uint16(len(data))), data...)
		}
		_, _ = names.WriteTo(answer, from)
	}
}
