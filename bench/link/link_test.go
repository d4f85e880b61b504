package link

import (
	"strconv"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestShaper(t *testing.T) {
	const ms = time.Millisecond
	now := time.Unix(1000, 0)
	s := shaper{Profile: Profile{Rate: 8e6, RTT: 10 * ms, Queue: 3000}} // 1000 bytes a millisecond
	tests := []struct {
		at    time.Duration
		bytes int
		want  time.Duration // of its arrival; -1 if dropped
	}{
		{0, 1000, 6 * ms},           // 1 ms on the wire, half the round trip
		{0, 2000, 8 * ms},           // waits for the first
		{0, 1500, 9500 * ms / 1000}, // 3000 bytes wait: just as many as the queue holds
		{0, 1, -1},                  // too many wait
		{2 * ms, 500, 10 * ms},      // there is room again
		{100 * ms, 1000, 106 * ms},  // what happened before does not matter on an idle link
	}
	for i, tt := range tests {
		arrival, ok := s.send(now.Add(tt.at), tt.bytes)
		got := time.Duration(-1)
		if ok {
			got = arrival.Sub(now)
		}
		if got != tt.want {
			t.Errorf("packet %d: arrives after %v, want %v", i, got, tt.want)
		}
	}
}
