package ffmpeg

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// Progress returns the stdout of a run with ProgressArgs: it calls report with the
// seconds that are done. report may be nil.
func Progress(report func(seconds float64)) io.Writer { return &progressReader{report: report} }

// ProgressArgs make ffmpeg report a few times a second.
var ProgressArgs = []string{"-stats_period", "0.25", "-progress", "pipe:1"}

// progressReader reads ffmpeg's -progress output: lines of key=value.
type progressReader struct {
	report func(seconds float64) // nil for nobody
	line   []byte
}

func (p *progressReader) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(p.line)+len(b) < bufio.MaxScanTokenSize {
				p.line = append(p.line, b...)
			}
			return n, nil
		}
		line := append(p.line, b[:i]...)
		if v, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("out_time_us=")); ok && p.report != nil {
			if us, err := strconv.ParseInt(string(v), 10, 64); err == nil && us >= 0 {
				p.report(float64(us) / 1e6)
			}
		}
		p.line, b = p.line[:0], b[i+1:]
	}
}
