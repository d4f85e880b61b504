package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"tonearm/bench/link"
)

// timed runs a program in a network and returns the seconds that it took.
func timed(ctx context.Context, in *link.Namespace, name string, args ...string) (float64, error) {
	u, err := spend(ctx, in, name, args...)
	return u.wall, err
}

// used is what a run of a program took, in seconds.
type used struct {
	wall   float64
	user   float64 // of processors, in the program itself
	system float64 // of processors, in the kernel
}

// spend runs a program in a network.
func spend(ctx context.Context, in *link.Namespace, name string, args ...string) (used, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	if err := in.Start(cmd); err != nil {
		return used{}, err
	}
	if err := cmd.Wait(); err != nil {
		return used{}, fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	return used{time.Since(began).Seconds(), cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()}, nil
}

// ffmpeg makes the MP3 with the usual command of the ffmpeg that is installed;
// from is a file or a URL.
func ffmpeg(ctx context.Context, in *link.Namespace, from, mp3 string) (float64, error) {
	return timed(ctx, in, "ffmpeg", "-nostdin", "-v", "error", "-y", "-i", from, "-vn", "-c:a", "libmp3lame", "-q:a", "2", mp3)
}

// curlThenFFmpeg downloads the file with curl, then converts it with ffmpeg.
func curlThenFFmpeg(ctx context.Context, in *link.Namespace, url, file, mp3 string) (float64, error) {
	defer func() { _ = os.Remove(file) }()
	download, err := timed(ctx, in, "curl", "-fsS", "-o", file, url)
	if err != nil {
		return 0, err
	}
	conversion, err := ffmpeg(ctx, in, file, mp3)
	return download + conversion, err
}

// whole checks that an MP3 has its full length, and removes it.
func whole(ctx context.Context, mp3 string, seconds float64) error {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", mp3).Output()
	if err != nil {
		return fmt.Errorf("look at the MP3: %w", err)
	}
	got, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return fmt.Errorf("look at the MP3: %w", err)
	}
	if math.Abs(got-seconds) > 0.25 {
		return fmt.Errorf("the MP3 is %.2f s long, want %.2f", got, seconds)
	}
	return os.Remove(mp3)
}
