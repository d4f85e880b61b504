package transcoder_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/transcoder"
)

// TestFullDisk: a disk without room for the source is the machine's fault. It
// needs the right to mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	b := newBench(t, video(t, "in.mp4", 2))
	code := b.run(t.Context(), func(o *transcoder.Options) { o.Dir = filepath.Join(dir, "work") })
	if res := b.result(); code != attempt.ExitFault || res.Failure == nil || res.Fault != conversion.FaultDisk {
		t.Errorf("exit code %d, reported %+v\n%s", code, res, b.log)
	}
}

// TestReadOnlyDisk: so is one that cannot be written.
func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=2m"); err != nil {
		t.Skipf("cannot mount a read-only disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	b := newBench(t, video(t, "in.mp4", 2))
	code := b.run(t.Context(), func(o *transcoder.Options) { o.Dir = filepath.Join(dir, "work") })
	if res := b.result(); code != attempt.ExitFault || res.Failure == nil || res.Fault != conversion.FaultDisk {
		t.Errorf("exit code %d, reported %+v\n%s", code, res, b.log)
	}
}
