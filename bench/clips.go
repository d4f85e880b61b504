package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/media/mp3"
)

// clips compares `tonearm convert`, which uploads a hundred clips to `tonearm
// up`, waits and downloads the MP3s, with a shell loop on the local files. All
// programs have their default settings.
func clips(ctx context.Context, l *lab) (results.Figure, error) {
	const many, seconds = 100, 5
	clip, err := l.inputs.Clip(ctx)
	if err != nil {
		return results.Figure{}, err
	}
	files, err := copies(clip, filepath.Join(l.scratch, "clips"), max(many/l.shorten, 10))
	if err != nil {
		return results.Figure{}, err
	}
	up, err := stack.Start(ctx, filepath.Join(l.scratch, "clips-up"), "--listen", "127.0.0.1:0")
	if err != nil {
		return results.Figure{}, err
	}
	defer up.Stop()
	token, err := up.Account(ctx, "clips@example.org")
	if err != nil {
		return results.Figure{}, err
	}
	out := filepath.Join(l.scratch, "clips-out")
	contend := func(name string, run func(context.Context) (float64, error)) contender {
		return contender{name: name, run: func(ctx context.Context) (float64, error) {
			if err := os.Mkdir(out, 0o700); err != nil {
				return 0, err
			}
			taken, err := run(ctx)
			if err != nil {
				return 0, err
			}
			for _, file := range files {
				if err := long(filepath.Join(out, stem(file)+".mp3"), seconds); err != nil {
					return 0, err
				}
			}
			return taken, os.RemoveAll(out)
		}}
	}
	taken, err := alternate(ctx, l.rounds,
		contend("tonearm", func(ctx context.Context) (float64, error) {
			return uploaded(ctx, l.scratch, up.Server, token, out, files)
		}),
		contend("xargs", func(ctx context.Context) (float64, error) { return looped(ctx, "ffmpeg", out, files) }),
		contend("xargs, own ffmpeg", func(ctx context.Context) (float64, error) { return looped(ctx, l.ffmpeg, out, files) }))
	if err != nil {
		return results.Figure{}, err
	}
	f := compare(taken, "tonearm", "xargs", "s")
	cpu, err := l.encoder(ctx, clip)
	if err != nil {
		return results.Figure{}, err
	}
	f.Floor = results.Plain(cpu*float64(len(files))/float64(runtime.NumCPU()), "s").Ours
	f.More = map[string]float64{"xargs_own_ffmpeg": results.Plain(taken["xargs, own ffmpeg"].median(), "s").Ours}
	f.Note = fmt.Sprintf("%d clips of %d s", len(files), seconds)
	return f, nil
}

// copies makes copies of a file in a new folder, and returns their paths.
func copies(file, folder string, n int) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join(folder, fmt.Sprintf("clip-%03d.mp4", i))
		if err := os.WriteFile(paths[i], content, 0o600); err != nil { //nolint:gosec // in the bench's own folder
			return nil, err
		}
	}
	return paths, nil
}

// long checks the length of an MP3, as whole does, without a process.
func long(path string, seconds float64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	s, err := mp3.Read(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if math.Abs(s.Seconds()-seconds) > 0.25 {
		return fmt.Errorf("%s is %.2f s long, want %.2f", filepath.Base(path), s.Seconds(), seconds)
	}
	return nil
}

// stem returns the name of a file without its folder and its extension.
func stem(file string) string {
	name := filepath.Base(file)
	return name[:len(name)-len(filepath.Ext(name))]
}

// uploaded converts files with the command line of a server's user.
func uploaded(ctx context.Context, home, server, token, out string, files []string) (float64, error) {
	return timed(ctx, nil, "env", append([]string{
		"HOME=" + home, "TONEARM_SERVER=" + server, "TONEARM_TOKEN=" + token, "bin/tonearm", "convert", "--force", "--out", out,
	}, files...)...)
}

// looped converts files with one ffmpeg for each, as many at a time as there
// are cores.
func looped(ctx context.Context, ffmpeg, out string, files []string) (float64, error) {
	var names strings.Builder
	for _, file := range files {
		fmt.Fprintln(&names, stem(file))
	}
	cmd := exec.CommandContext(ctx, "xargs", "-P", strconv.Itoa(runtime.NumCPU()), "-I", "{}",
		ffmpeg, "-nostdin", "-v", "error", "-y", "-i", filepath.Join(filepath.Dir(files[0]), "{}.mp4"),
		"-vn", "-c:a", "libmp3lame", "-q:a", "2", filepath.Join(out, "{}.mp3"))
	cmd.Stdin = strings.NewReader(names.String())
	began := time.Now()
	if said, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("xargs %s: %w: %s", filepath.Base(ffmpeg), err, said)
	}
	return time.Since(began).Seconds(), nil
}
