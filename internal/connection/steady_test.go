package connection

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSteady sends a body of which so many bytes come at a time, with a pause
// before each, on the clock of a bubble.
func TestSteady(t *testing.T) {
	for name, c := range map[string]struct {
		size, at int // bytes of the body, and of what comes at a time
		pause    time.Duration
		reader   time.Duration // the time that the reader itself takes after each
		want     error         // nil for the whole body
	}{
		"as slow as may be":        {20 * Progress, Progress, 59 * time.Second, 0, nil},
		"little at a time":         {4 * Progress, Progress / 8, 7 * time.Second, 0, nil},
		"a reader that is slow":    {4 * Progress, Progress, time.Second, time.Hour, nil},
		"a bit too slow":           {20 * Progress, Progress, 61 * time.Second, 0, os.ErrDeadlineExceeded},
		"byte by byte":             {4 * Progress, 1, time.Second, 0, os.ErrDeadlineExceeded},
		"nothing":                  {Progress, Progress, time.Hour, 0, os.ErrDeadlineExceeded},
		"a short one at its end":   {Progress + 5, Progress, 50 * time.Second, 0, nil},
		"a small one byte by byte": {50, 1, time.Second, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				var sender sync.WaitGroup
				sender.Go(func() {
					defer client.Close()
					for left := c.size; left > 0; left -= c.at {
						time.Sleep(c.pause)
						if _, err := client.Write(make([]byte, min(left, c.at))); err != nil {
							return // the reader has given up
						}
					}
				})
				body, n := NewSteady(server, server, time.Minute), 0
				buf := make([]byte, 32<<10)
				var err error
				for err == nil {
					var got int
					got, err = body.Read(buf)
					n += got
					time.Sleep(c.reader)
				}
				if c.want == nil && (!errors.Is(err, io.EOF) || n != c.size) {
					t.Errorf("%d of %d bytes, then %v", n, c.size, err)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				server.Close()
				sender.Wait()
			})
		})
	}
}
