package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/test/server"
)

// site is a running `tonearm up`.
type site struct {
	server.Scratch
	*service
	url    string
	client *client.Client
}

// startUp runs `tonearm up` on a folder and waits until it is ready.
func (s *site) startUp(ctx context.Context, p *programs, data string, flags ...string) error {
	up, listen, err := p.start(ctx, &s.Scratch, "up", []string{"tonearm", "up"}, append(flags, "--data="+data))
	if err != nil {
		return err
	}
	s.service, s.url = up, "http://"+listen
	return s.Answers(ctx, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+up.admin+"/readyz")
		return err
	})
}

// freeze stops the program and all that it has started, at once.
func (s *site) freeze() {
	stopped := map[int]bool{}
	for found := true; found; {
		found = false
		for _, pid := range descendants(s.PID()) {
			if !stopped[pid] {
				stopped[pid], found = true, true
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
	}
}

// kill ends the program and all that it has started.
func (s *site) kill() {
	for _, pid := range descendants(s.PID()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.Kill()
}

// keys are the idempotency keys of uploads, by the conversion's id.
func keys(uploads []*upload) map[string]string {
	keys := map[string]string{}
	for _, u := range uploads {
		if id, _, _, _ := u.state(); id != "" {
			keys[id] = u.key
		}
	}
	return keys
}

// look reads what the server shows of its conversions and their MP3s. A
// conversion whose creation was not answered has no key here, and is left out.
func (s *site) look(ctx context.Context, keys map[string]string) (*seen, error) {
	what := &seen{sums: map[string]string{}, mails: map[string]int{}}
	bad := 0
	for cursor := ""; ; {
		page, err := s.client.List(ctx, nil, cursor, 100)
		if err != nil {
			return nil, err
		}
		for _, c := range page.Conversions {
			if keys[c.ID] == "" {
				continue
			}
			d := conversion.Conversion{ID: c.ID, IdempotencyKey: keys[c.ID], State: c.State, Error: c.Error}
			if c.FinishedAt != nil {
				d.FinishedAt = *c.FinishedAt
			}
			if c.MP3 != nil {
				d.MP3.Key = conversion.MP3Prefix + "owner/" + c.ID + "/1.mp3"
				if bad == enoughBad {
					what.sums[d.MP3.Key] = "not read"
				} else if what.sums[d.MP3.Key], err = s.download(ctx, *c.MP3); err != nil {
					what.sums[d.MP3.Key] = err.Error()
					bad++
				}
			}
			what.documents = append(what.documents, d)
		}
		if cursor = page.Next; cursor == "" {
			return what, nil
		}
	}
}

// enoughBad is how many MP3s that cannot be read show enough: each takes long, and
// the others are not read in that look.
const enoughBad = 3

// download returns the SHA-256 of an MP3.
func (s *site) download(ctx context.Context, m api.MP3) (string, error) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f, err := os.Create(filepath.Join(s.Dir(), "download.mp3"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := s.client.Download(ctx, m, f, func(int64) {}); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// right reports whether every acknowledged upload has the end that it must have,
// and whatever else has come has an end.
func right(s *seen, uploads []*upload) bool {
	for _, d := range s.documents {
		if !d.State.Terminal() && d.State != conversion.AwaitingUpload {
			return false
		}
	}
	for _, u := range uploads {
		_, acked, _, _ := u.state()
		d, ok := s.document(u.key)
		switch {
		case acked.IsZero():
		case !ok:
			return false
		case u.tone.want != "" && d.State != conversion.Failed:
			return false
		case u.tone.want == "" && (d.State != conversion.Done || s.sums[d.MP3.Key] != u.tone.sum):
			return false
		}
	}
	return true
}

// judged waits until everything is right, and judges what there is.
func (s *site) judged(ctx context.Context, uploads []*upload, ended time.Time, t tune) (verdict, error) {
	var last *seen
	var failed error
	for late := time.Now().Add(t.patience); time.Now().Before(late) && ctx.Err() == nil; pause(ctx, look) {
		if last, failed = s.look(ctx, keys(uploads)); failed == nil && right(last, uploads) {
			break
		}
	}
	if last == nil {
		return verdict{}, fmt.Errorf("look at the conversions: %w", failed)
	}
	after, err := stateOf(ctx, s.service)
	if err != nil {
		return verdict{}, err
	}
	e := evidence{
		seen: last, ended: ended, observed: time.Since(ended), struck: 1, mayRefuse: true, noMails: true, recovery: t.recovery, lines: t.lines,
		services: map[string]change{"up": {before: state{goroutines: after.goroutines, lines: after.lines}, after: after}},
	}
	for _, u := range uploads {
		e.files = append(e.files, u.file())
	}
	return judge(e), nil
}
