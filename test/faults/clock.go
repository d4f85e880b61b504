package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"tonearm/test/faults/proxy"
)

// skewed makes MongoDB tell another time. No clock of a program can be set wrong
// from outside: Go takes the time from the kernel. But programs go by the time of
// the record store, and ask it; what counts is the difference.
func skewed(by time.Duration) *proxy.Rule {
	field := []byte("\x09localTime\x00") // BSON: a date, its name, and milliseconds as int64
	return &proxy.Rule{Match: proxy.Regexp(`hello\x00`), Do: proxy.EditAnswer, Edit: func(answer []byte) {
		_, value, ok := bytes.Cut(answer, field)
		if ok && len(value) >= 8 {
			told := int64(binary.LittleEndian.Uint64(value))
			binary.LittleEndian.PutUint64(value, uint64(told+by.Milliseconds()))
		}
	}}
}

// otherTime uploads. It has struck if documents
// have the time that MongoDB tells.
func otherTime(ctx context.Context, r *run) error {
	r.begin(ctx)
	err := r.until(ctx, "a document has the time of the records", func(s *seen) bool {
		for _, d := range s.documents {
			if time.Since(d.CreatedAt.Add(-r.cell.skew)).Abs() < 10*time.Minute {
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil //nolint:nilerr // then the cell is red: the fault has not struck
	}
	r.struck = 1
	return nil
}
