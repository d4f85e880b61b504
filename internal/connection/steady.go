package connection

import (
	"errors"
	"io"
	"time"
)

// Pause and Progress are how slow the sender of a long body may be: so many bytes
// in each such time that somebody waits for them. That is 273 bytes a second.
const (
	Pause    = time.Minute
	Progress = 16 << 10
)

// Steady is a long body that may take any time, while bytes keep coming. Only time
// in Read counts: what reads it may take its own time.
type Steady struct {
	r     io.Reader
	conn  Deadline
	pause time.Duration
	left  time.Duration // to wait until Progress bytes have come
	got   int           // of these
}

// Deadline is of a connection, or of the http.ResponseController of a request.
type Deadline interface{ SetReadDeadline(time.Time) error }

// NewSteady returns a reader of r, which reads from conn. It ends with
// os.ErrDeadlineExceeded if fewer than Progress bytes come within pause. The last
// read deadline stays, but not behind the end of r: from there on a server reads to
// notice when the client leaves, and a deadline would look like that.
func NewSteady(r io.Reader, conn Deadline, pause time.Duration) *Steady {
	return &Steady{r: r, conn: conn, pause: pause, left: pause}
}

func (s *Steady) Read(p []byte) (int, error) {
	start := time.Now()
	_ = s.conn.SetReadDeadline(start.Add(s.left)) // the recorder of a test has none
	n, err := s.r.Read(p)
	s.left -= time.Since(start)
	if errors.Is(err, io.EOF) {
		_ = s.conn.SetReadDeadline(time.Time{})
	}
	if s.got += n; s.got >= Progress {
		s.left, s.got = s.pause, 0
	}
	return n, err
}
