package service

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sparsePause is how long a Sparse logger leaves out lines with a message that it
// has just logged.
const sparsePause = time.Minute

// Sparse returns a logger for what an outage makes many callers say: a message
// is logged once a minute, with the first caller's attributes, and the next time
// with the number of lines that were left out since.
func Sparse(log *slog.Logger) *slog.Logger {
	return slog.New(&sparse{Handler: log.Handler(), said: &said{last: map[string]time.Time{}, left: map[string]int{}}})
}

type sparse struct {
	slog.Handler
	*said
}

// said is shared by a logger and those made of it.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
	left map[string]int
}

func (s *sparse) Handle(ctx context.Context, r slog.Record) error {
	s.mu.Lock()
	last, ok := s.last[r.Message]
	if ok && r.Time.Before(last.Add(sparsePause)) {
		s.left[r.Message]++
		s.mu.Unlock()
		return nil
	}
	left := s.left[r.Message]
	s.last[r.Message], s.left[r.Message] = r.Time, 0
	s.mu.Unlock()
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	return s.Handler.Handle(ctx, r)
}

func (s *sparse) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sparse{s.Handler.WithAttrs(attrs), s.said}
}

func (s *sparse) WithGroup(name string) slog.Handler {
	return &sparse{s.Handler.WithGroup(name), s.said}
}
