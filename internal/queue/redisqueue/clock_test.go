package redisqueue

import (
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tonearm/internal/queue"
)

// Neither the clock of Redis nor that of this machine decides when a message
// comes, but the one by which its time was meant.
func TestSkewedClocks(t *testing.T) {
	server := miniredis.RunT(t)
	redisTime := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	server.SetTime(redisTime)
	q := open(t, server.Addr(), "")
	meant := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	q.UseClock(func() time.Time { return meant })
	m := owed()[0]
	if err := q.Publish(t.Context(), m, meant.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  error
	}{{time.Minute - time.Second, queue.ErrEmpty}, {time.Minute, nil}} {
		server.SetTime(redisTime.Add(step.after))
		if d, err := q.Take(t.Context(), queue.CPU, time.Minute, 0); !errors.Is(err, step.want) {
			t.Errorf("after %v: %+v, %v, want %v", step.after, d, err, step.want)
		}
	}
}
