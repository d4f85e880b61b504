package mongoconversion

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A build goes on for as long as it takes, says so every 10 s, and ends with the
// process.
func TestBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil)).With("index", "due")
		count := func(ctx context.Context) (int64, error) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
				t.Error("counting has no near deadline")
			}
			return 42, nil
		}
		err := build(t.Context(), log, false, func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) < 24*time.Hour {
				t.Error("the client's own deadline would end the build")
			}
			time.Sleep(25 * time.Second)
			return nil
		}, count)
		got := regexp.MustCompile("msg=.*").FindAllString(out.String(), -1)
		want := []string{
			`msg="building index" index=due seconds=10 documents=42`,
			`msg="building index" index=due seconds=20 documents=42`,
			`msg="index built" index=due seconds=25`,
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, logged %q, want %q", err, got, want)
		}

		out.Reset()
		if err := build(t.Context(), log, true, func(context.Context) error { return nil }, count); err != nil || out.Len() > 0 {
			t.Errorf("an index that is there: %v, logged %s", err, &out)
		}

		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(15*time.Second, stop)
		err = build(ctx, log, false, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, count)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})
}
