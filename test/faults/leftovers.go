package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/test/faults/proxy"
)

// leftovers leaves sources behind in every way that there is, and waits until the
// bucket is empty. What comes after the last look of its record is found by the
// scan at the dispatcher's start.
func leftovers(ctx context.Context, r *run) error {
	r.struck = 1
	r.add(r.client, "low.mp4", false)
	r.add(r.client, "silent.mp4", false) // it fails
	r.start(ctx)
	late, err := r.canceled(ctx, "late")
	if err != nil {
		return err
	}
	early, err := r.canceled(ctx, "early")
	if err != nil {
		return err
	}
	if err := r.bring(ctx, early); err != nil {
		return err
	}
	r.patient(ctx, r.cell.patience, 0)
	over := false
	err = r.until(ctx, "the time of the sources is over", func(s *seen) bool {
		r.seen = s
		over = !slices.ContainsFunc(s.documents, func(d conversion.Conversion) bool { return !d.SourceGone })
		return over
	})
	if !over {
		r.red = append(r.red, fmt.Sprintf("leftovers: %v", err))
		return ctx.Err()
	}
	d, _ := r.seen.document(late.key) // as an upload that was under way when its URL ended
	if _, err := r.objects.FPutObject(ctx, bucket, d.Object.Key, late.tone.path, minio.PutObjectOptions{}); err != nil {
		return err
	}
	var failed conversion.Conversion
	for _, d := range r.seen.documents {
		if d.State == conversion.Failed {
			failed = d
		}
	}
	// The result of an attempt that was thought dead.
	if _, err := r.objects.PutObject(ctx, bucket, failed.MP3Key(1), strings.NewReader("late"), 4, minio.PutObjectOptions{}); err != nil {
		return err
	}
	r.services["dispatcher"].Kill()
	if err := startAgain("dispatcher")(ctx, r); err != nil {
		return err
	}
	r.ended = time.Now()
	var left []string
	if err := r.until(ctx, "nothing is left", func(s *seen) bool { left = s.objects; return len(left) == 0 }); err != nil {
		r.red = append(r.red, fmt.Sprintf("leftovers: after their time these are left: %q", left))
	}
	return nil
}

// abandoned is an upload whose conversion was canceled before it came.
type abandoned struct {
	*upload
	to api.Upload
}

func (r *run) canceled(ctx context.Context, why string) (abandoned, error) {
	u := r.add(r.client, "high.mp4", false)
	u.key, u.ended, u.refused = why, true, errors.New("canceled")
	made, err := r.client.Create(ctx, u.key, api.NewConversion{Filename: u.tone.name, Size: u.tone.size})
	if err != nil {
		return abandoned{}, err
	}
	_, err = r.client.Cancel(ctx, made.ID)
	return abandoned{u, *made.Upload}, err
}

// bring sends the file though nobody wants it any more.
func (r *run) bring(ctx context.Context, a abandoned) error {
	f, err := os.Open(a.tone.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return put(ctx, a.to, f, a.tone.size)
}

// silent lets no notification through until the dispatcher says that none comes.
// Its look at the store finds the uploads meanwhile.
func silent(ctx context.Context, r *run) error {
	dispatcher := r.services["dispatcher"]
	lost := &proxy.Rule{Do: proxy.Drop}
	release := r.gate[gateEvents].Add(lost)
	defer release()
	found := func() float64 {
		n, _ := metric(ctx, dispatcher, "tonearm_uploads_found_total", `by="sweep"`)
		return n
	}
	says := func() float64 {
		n, _ := metric(ctx, dispatcher, "tonearm_notifications_silent", "")
		return n
	}
	pause(ctx, 2*time.Minute) // since the last notification
	r.begin(ctx)
	if err := await(ctx, 2*time.Minute, "the sweep finds the uploads", func() bool { return found() >= float64(r.cell.files) }); err != nil {
		r.red = append(r.red, "silent: uploads are not counted as found by the sweep")
	}
	if err := await(ctx, 3*time.Minute, "the metric says that no notification comes", func() bool { return says() == 1 }); err != nil {
		r.red = append(r.red, "silent: nobody says that no notification comes")
	}
	if ready, err := get(ctx, "http://"+dispatcher.admin+"/readyz"); err != nil || !strings.Contains(string(ready), "no notification") {
		r.red = append(r.red, fmt.Sprintf("silent: readiness does not say that no notification comes: %s %v", ready, err))
	}
	release()
	r.struck, r.ended = lost.Struck(), time.Now()
	r.add(r.client, "low.mp4", false)
	r.start(ctx)
	if err := await(ctx, time.Minute, "the metric says that notifications come again", func() bool { return says() == 0 }); err != nil {
		r.red = append(r.red, "silent: it is still said that no notification comes")
	}
	return nil
}

// storePatience is how long a transcoder waits for the object store.
const storePatience = 5 * time.Minute

// wantUncounted complains if a file's attempts were counted.
func wantUncounted(_ context.Context, r *run) error {
	for _, d := range r.seen.documents {
		if d.Failures > 0 {
			r.red = append(r.red, fmt.Sprintf("counted: %d attempts of a file, though no file was the reason", d.Failures))
		}
	}
	return nil
}
