package embedded

import (
	"errors"
	"io"
)

// Not io.ErrUnexpectedEOF, because the gateway takes that for a regular end
// too.
var errBrokenOff = errors.New("the request's body broke off")

type wholeBody struct {
	r    io.Reader
	left int64
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = errBrokenOff
	}
	return n, err
}
