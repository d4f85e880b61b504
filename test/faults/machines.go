package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// onMachines are faults of the machine that attempts run on.
var onMachines = []fault{
	{name: "spool-readonly", text: "the disk of the attempts can only be read for 25 s",
		tune: tune{flow: spoolReadOnly, needs: needsRoot, files: 10, recovery: 2 * time.Minute, patience: 3 * time.Minute}},
	{name: "ffmpeg-gone", text: "ffmpeg is missing for 25 s",
		tune: tune{flow: ffmpegGone, needs: needsLinux, files: 6, check: wantUncounted, recovery: 2 * time.Minute, patience: 3 * time.Minute}},
	{name: "ffmpeg-hang", text: "the ffmpeg of one attempt hangs", ci: []string{"-"},
		tune: tune{flow: ffmpegHangs, needs: needsLinux, files: 3, recovery: 2 * time.Minute, patience: 3 * time.Minute, late: true}},
}

// spoolReadOnly lets attempts work on a disk that cannot be written.
func spoolReadOnly(ctx context.Context, r *run) error {
	return r.onSickDisk(ctx, 1<<30,
		func() error { return remount(ctx, r.work, "ro") },
		func() error { return remount(ctx, r.work, "rw") })
}

// onSickDisk lets attempts work on a disk of that many bytes, which is sick for 25 s:
// from spoil, or from its beginning where spoil is nil, to mend.
func (r *run) onSickDisk(ctx context.Context, bytes int, spoil, mend func() error) error {
	if err := mountTmpfs(ctx, r.work, bytes); err != nil {
		return err
	}
	defer func() {
		r.services["dispatcher"].Kill()
		_ = unmount(context.WithoutCancel(ctx), r.work)
		_ = r.services["dispatcher"].Start()
	}()
	r.services["dispatcher"].Kill() // its folder was made before the disk was there
	if err := startAgain("dispatcher")(ctx, r); err != nil {
		return err
	}
	if spoil != nil {
		if err := spoil(); err != nil {
			return err
		}
	}
	for range r.cell.files {
		r.add(r.client, "spooled.mkv", false)
	}
	r.start(ctx)
	pause(ctx, 25*time.Second)
	if err := r.wantSick(ctx); err != nil {
		return err
	}
	if err := mend(); err != nil {
		return err
	}
	r.struck, r.ended = 1, time.Now()
	r.patient(ctx, r.cell.patience, 0)
	return nil
}

// ownFFmpeg gives the attempts an ffmpeg of this world, a script that does what
// says and goes on with the real one. It returns the script's path.
func (r *run) ownFFmpeg(ctx context.Context, does string) (string, error) {
	program := r.programs.path("ffmpeg")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("ffmpeg"); err != nil {
			return "", err
		}
	}
	path, transcoder := filepath.Join(r.Dir(), "ffmpeg"), filepath.Join(r.Dir(), "own-transcoder")
	for path, script := range map[string]string{
		path:       fmt.Sprintf("#!/bin/sh\n%s\nexec %q \"$@\"\n", does, program),
		transcoder: fmt.Sprintf("#!/bin/sh\nTONEARM_FFMPEG=%q exec %q\n", path, r.programs.path("transcoder")),
	} {
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil { //nolint:gosec // a program
			return "", err
		}
	}
	r.services["dispatcher"].Kill()
	if err := r.startService(ctx, "dispatcher", "dispatcher", append(r.common[:len(r.common):len(r.common)], "--transcoder="+transcoder)); err != nil {
		return "", err
	}
	return path, r.ready(ctx, r.services["dispatcher"])
}

// ffmpegGone takes ffmpeg away while files come.
func ffmpegGone(ctx context.Context, r *run) error {
	path, err := r.ownFFmpeg(ctx, "")
	if err != nil {
		return err
	}
	if err := os.Rename(path, path+".away"); err != nil {
		return err
	}
	r.begin(ctx)
	pause(ctx, 25*time.Second)
	if err := r.wantSick(ctx); err != nil {
		return err
	}
	if err := os.Rename(path+".away", path); err != nil {
		return err
	}
	r.struck, r.ended = 1, time.Now()
	return nil
}

// ffmpegHangs stops one ffmpeg for good before it reads a byte.
func ffmpegHangs(ctx context.Context, r *run) error {
	hang := filepath.Join(r.Dir(), "hang")
	_, err := r.ownFFmpeg(ctx, fmt.Sprintf(`case " $* " in *" -i "*) rm %q 2>/dev/null && exec sleep 3600 ;; esac`, hang))
	if err != nil {
		return err
	}
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		return err
	}
	r.begin(ctx)
	err = await(ctx, strikePatience, "an ffmpeg hangs", func() bool {
		_, err := os.Stat(hang)
		return errors.Is(err, os.ErrNotExist)
	})
	if err == nil {
		r.struck = 1
	}
	r.ended = time.Now()
	return nil //nolint:nilerr // then the cell is red: the fault has not struck
}
