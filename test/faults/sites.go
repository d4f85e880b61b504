package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/test/server"
)

// onSites are faults of a machine with `tonearm up`.
var onSites = []fault{
	{name: "up-kill", text: "tonearm up is killed while it converts two files, and started again", ci: []string{"-"},
		tune: tune{whole: stays(upEnds(kill9)), needs: needsLinux, recovery: 25 * time.Second}},
	{name: "up-stop", text: "tonearm up is stopped while it converts two files, and started again",
		tune: tune{whole: stays(upEnds(syscall.SIGTERM)), needs: needsLinux, recovery: 25 * time.Second}},
	{name: "up-secrets", text: "a power cut has left the files with the secrets of tonearm up empty",
		tune: tune{whole: stays(upLosesSecrets)}},
	{name: "up-mp3", text: "a power cut has left zeros in place of an MP3 in the store of tonearm up",
		tune: tune{whole: stays(upLosesMP3), needs: needsLinux}},
	{name: "up-full", text: "the disk of tonearm up is full for a while; what needs room gets 507, reading goes on",
		tune: tune{whole: stays(upFull), needs: needsRoot}},
}

// stay is a cell on `tonearm up` under way.
type stay struct {
	*site
	programs *programs
	tones    map[string]*tone
	data     string
	token    string
	flags    []string // of the next start
	uploads  []*upload
	ended    time.Time // of the fault
	red      []string
	release  func() // after the program has ended
}

// stays makes a cell of what happens on a machine with `tonearm up`. The flow
// starts it itself.
func stays(flow func(context.Context, *stay) error) func(context.Context, cell, *programs, map[string]*tone, string) (verdict, error) {
	return func(ctx context.Context, c cell, p *programs, tones map[string]*tone, logs string) (v verdict, err error) {
		s := &stay{site: &site{Scratch: server.Scratch{Host: server.Loopback}}, programs: p, tones: tones, release: func() {}}
		if err := s.Open(); err != nil {
			return v, err
		}
		defer s.Close()
		defer func() { err = errors.Join(err, keepLogs(s.Dir(), logs, c)) }()
		s.data = filepath.Join(s.Dir(), "data")
		defer func() {
			if s.service != nil {
				s.kill()
			}
			s.release()
		}()
		if err := flow(ctx, s); err != nil {
			return v, err
		}
		if s.client == nil { // it has not started again
			return verdict{Red: s.red}, nil
		}
		v, err = s.judged(ctx, s.uploads, s.ended, c.tune)
		v.Red = append(v.Red, s.red...)
		return v, err
	}
}

// up starts the program and logs in. The second start may fail: then there is no
// client.
func (s *stay) up(ctx context.Context) error {
	s.client = nil
	if err := s.startUp(ctx, s.programs, s.data, s.flags...); err != nil {
		if s.token == "" {
			return err
		}
		s.red = append(s.red, "start: tonearm up does not start again: "+tail(err.Error()))
		return nil
	}
	var err error
	if s.token == "" {
		if s.token, err = newUser(ctx, s.url, "owner@example.org"); err != nil {
			return err
		}
	}
	s.client, err = userOf(s.url, s.token)
	s.ended = time.Now()
	return err
}

// upload sends a file.
func (s *stay) upload(ctx context.Context, name string) error {
	u := &upload{tone: s.tones[name], key: fmt.Sprintf("file-%d", len(s.uploads)), client: s.client}
	s.uploads = append(s.uploads, u)
	u.send(ctx)
	_, _, refused, _ := u.state()
	return refused
}

// done waits until every upload has the end that it must have.
func (s *stay) done(ctx context.Context) error {
	return await(ctx, settlePatience, "everything is done", func() bool {
		seen, err := s.look(ctx, keys(s.uploads))
		return err == nil && right(seen, s.uploads)
	})
}

// upEnds gives the attempts a transcoder whose ffmpeg never ends, sends a signal
// while two of them are at work, and starts the program again without.
func upEnds(sig syscall.Signal) func(context.Context, *stay) error {
	return func(ctx context.Context, s *stay) error {
		ffmpeg, transcoder := filepath.Join(s.Dir(), "ffmpeg"), filepath.Join(s.Dir(), "own-transcoder")
		for path, script := range map[string]string{
			ffmpeg:     "#!/bin/sh\nexec sleep 600\n",
			transcoder: fmt.Sprintf("#!/bin/sh\nTONEARM_FFMPEG=%q exec %q\n", ffmpeg, s.programs.path("transcoder")),
		} {
			if err := os.WriteFile(path, []byte(script), 0o755); err != nil { //nolint:gosec // a program
				return err
			}
		}
		s.flags = []string{"--transcoder=" + transcoder, "--max-jobs=2"}
		if err := s.up(ctx); err != nil {
			return err
		}
		for _, name := range []string{"low.mp4", "middle.mp4", "spooled.mkv"} {
			if err := s.upload(ctx, name); err != nil {
				return err
			}
		}
		if err := await(ctx, strikePatience, "two files are being converted", func() bool {
			running, err := s.client.List(ctx, []conversion.State{conversion.Running}, "", 100)
			n := 0
			for _, c := range running.Conversions {
				if c.Progress != nil && c.Progress.Phase != conversion.PhaseNone {
					n++
				}
			}
			return err == nil && n == 2
		}); err != nil {
			return err
		}
		gone := s.Done()
		if err := s.Signal(sig); err != nil {
			return err
		}
		select {
		case <-gone:
		case <-time.After(time.Minute):
			s.red = append(s.red, "stop: tonearm up does not end")
			s.kill()
		case <-ctx.Done():
			return ctx.Err()
		}
		s.flags = nil
		return s.up(ctx)
	}
}

// upLosesSecrets empties the files with secrets, as a power cut does soon after
// the first start.
func upLosesSecrets(ctx context.Context, s *stay) error {
	if err := s.up(ctx); err != nil {
		return err
	}
	if err := s.upload(ctx, "low.mp4"); err != nil {
		return err
	}
	if err := s.done(ctx); err != nil {
		return err
	}
	s.kill()
	for _, name := range []string{"attempt-key", "event-token"} {
		if err := os.Truncate(filepath.Join(s.data, name), 0); err != nil {
			return err
		}
	}
	if err := s.up(ctx); err != nil || s.client == nil {
		return err
	}
	if b, err := os.ReadFile(s.Log); err != nil || strings.Count(string(b), "level=ERROR") < 2 {
		s.red = append(s.red, fmt.Sprintf("quiet: nobody says that secrets were lost %v", err))
	}
	return s.upload(ctx, "middle.mp4")
}

// upWithTwo starts the programs and has two files converted.
func (s *stay) upWithTwo(ctx context.Context) error {
	if err := s.up(ctx); err != nil {
		return err
	}
	for _, name := range []string{"low.mp4", "middle.mp4"} {
		if err := s.upload(ctx, name); err != nil {
			return err
		}
	}
	return s.done(ctx)
}

// upLosesMP3 overwrites the content of an MP3 with zeros in the store's folder, as
// if the machine had gone down before it was on the disk.
func upLosesMP3(ctx context.Context, s *stay) error {
	if err := s.upWithTwo(ctx); err != nil {
		return err
	}
	s.kill()
	var lost, alive string
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Type().IsRegular() && strings.Contains(path, "/tonearm/"+conversion.MP3Prefix) && filepath.Ext(path) == ".mp3":
			lost = path
		case d.Name() == "s3.alive":
			alive = path
		}
		return nil
	})
	if err != nil || lost == "" {
		return fmt.Errorf("find an MP3 below %s: %w", s.data, err)
	}
	info, err := os.Stat(lost)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(lost, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, info.Size())); err != nil { // in place: what says its ETag stays
		return err
	}
	if alive != "" { // else it is a version without
		if err := os.WriteFile(alive, []byte("another life of the machine\n"), 0o600); err != nil {
			return err
		}
	}
	return s.up(ctx)
}

// upFull fills the disk.
func upFull(ctx context.Context, s *stay) error {
	if err := os.Mkdir(s.data, 0o700); err != nil {
		return err
	}
	const size = 512 << 20 // more than a transcoder keeps free
	if err := mountTmpfs(ctx, s.data, size); err != nil {
		return err
	}
	s.release = func() { _ = unmount(context.WithoutCancel(ctx), s.data) }
	if err := s.upWithTwo(ctx); err != nil {
		return err
	}
	filler := filepath.Join(s.data, "filler")
	if err := fill(filler); err != nil {
		return err
	}
	if err := s.wantFull(ctx); err != nil {
		return err
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	s.ended = time.Now()
	for _, name := range []string{"high.mp4", "silent.mp4"} {
		if err := s.upload(ctx, name); err != nil {
			s.red = append(s.red, "healed: with room again, an upload is refused: "+err.Error())
		}
	}
	return nil
}

// fill writes until there is no room left.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 1<<9; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// wantFull complains unless uploads get 507 with a text, and lists and downloads
// go on.
func (s *stay) wantFull(ctx context.Context) error {
	full := 0
	const tries = 10
	for i := range tries {
		form := &run{world: &world{url: s.url, token: s.token}}
		answer, err := form.form(ctx, &upload{tone: s.tones["middle.mp4"], key: fmt.Sprintf("full-%d", i)})
		switch {
		case err == nil: // there was room left for this one
		case strings.Contains(err.Error(), fmt.Sprint(http.StatusInsufficientStorage)):
			full++
		default:
			s.red = append(s.red, fmt.Sprintf("full: an upload is refused with %v, want 507 (%s)", err, answer))
		}
	}
	if full == 0 {
		s.red = append(s.red, "full: no upload gets 507")
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	reader, err := client.New(client.Options{Server: s.url, Token: s.token})
	if err != nil {
		return err
	}
	if page, err := reader.List(limited, nil, "", 100); err != nil || len(page.Conversions) < len(s.uploads) {
		s.red = append(s.red, fmt.Sprintf("full: the list shows %d of %d conversions, %v", len(page.Conversions), len(s.uploads), err))
	}
	if seen, err := s.look(limited, keys(s.uploads)); err != nil || !right(seen, s.uploads) {
		s.red = append(s.red, fmt.Sprintf("full: the MP3s cannot be read, %v", err))
	}
	return nil
}
