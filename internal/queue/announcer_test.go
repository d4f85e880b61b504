package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"tonearm/internal/queue"
)

// announcements keeps what is announced.
type announcements struct {
	queue.Queue
	topics []string
	err    error
}

func (a *announcements) Announce(_ context.Context, topic string) error {
	a.topics = append(a.topics, topic)
	return a.err
}

func TestAnnouncer(t *testing.T) {
	heard := &announcements{}
	a := queue.Announcer{Queue: heard, Topic: "topic"}
	start := time.UnixMilli(1e12)
	for _, after := range []time.Duration{0, time.Millisecond, 10*time.Second - 1, 10 * time.Second, 11 * time.Second, 20 * time.Second} {
		if err := a.Announce(t.Context(), start.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"topic", "topic", "topic"}; !slices.Equal(heard.topics, want) {
		t.Errorf("announced %q, want %q", heard.topics, want)
	}
	heard.err = errors.New("down")
	if err := a.Announce(t.Context(), start.Add(time.Minute)); !errors.Is(err, heard.err) {
		t.Errorf("error %v, want %v", err, heard.err)
	}
}
