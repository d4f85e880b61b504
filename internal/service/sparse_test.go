package service

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"
)

func TestSparse(t *testing.T) {
	var b bytes.Buffer
	log := Sparse(slog.New(slog.NewJSONHandler(&b, nil)))
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	say := func(after time.Duration, message string, attrs ...slog.Attr) {
		t.Helper()
		r := slog.NewRecord(start.Add(after), slog.LevelWarn, message, 0)
		r.AddAttrs(attrs...)
		if err := log.With("service", "s").Handler().Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	say(0, "gone", slog.Int("n", 1))
	say(time.Second, "gone", slog.Int("n", 2))
	say(time.Second, "another")
	say(time.Minute-time.Nanosecond, "gone", slog.Int("n", 3))
	say(time.Minute, "gone", slog.Int("n", 4))
	say(2*time.Minute, "gone", slog.Int("n", 5))
	type line struct {
		Msg     string
		N       int
		Left    int `json:"left_out"`
		Service string
	}
	want := []line{{"gone", 1, 0, "s"}, {"another", 0, 0, "s"}, {"gone", 4, 2, "s"}, {"gone", 5, 0, "s"}}
	d := json.NewDecoder(&b)
	for i := 0; d.More(); i++ {
		var got line
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if i >= len(want) || got != want[i] {
			t.Errorf("line %d: %+v", i, got)
		}
		if i == len(want)-1 {
			want = nil
		}
	}
	if want != nil {
		t.Errorf("not all of %+v", want)
	}
}
