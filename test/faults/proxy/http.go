package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
)

// whole reads the rest of a request of HTTP whose beginning is known, and
// returns all its bytes as they came.
func whole(rest net.Conn, beginning []byte) ([]byte, error) {
	var all bytes.Buffer
	r := io.TeeReader(io.MultiReader(bytes.NewReader(beginning), rest), &all)
	req, err := http.ReadRequest(bufio.NewReaderSize(r, 16))
	if err != nil {
		return nil, fmt.Errorf("read a request: %w", err)
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil, fmt.Errorf("read a request's body: %w", err)
	}
	return all.Bytes(), nil
}
