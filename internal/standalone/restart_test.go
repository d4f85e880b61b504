package standalone_test

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/standalone"
	"tonearm/internal/waittest"
)

// hostArg makes the test binary an instance that can be killed. The arguments
// after it are the data directory and the transcoder. It prints its address.
const hostArg = "host-standalone"

func host(data, transcoder string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := standalone.New(restartOptions(data, transcoder, slog.New(slog.NewTextHandler(os.Stderr, nil)), func(a standalone.Addresses) {
		os.Stdout.WriteString(a.PublicURL + "\n")
	}))
	if err == nil {
		err = s.Run(ctx)
	}
	if err != nil {
		slog.Error("host", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// restartOptions are those of an instance in which nobody waits for a lease to
// end.
func restartOptions(data, transcoder string, log *slog.Logger, started func(standalone.Addresses)) standalone.Options {
	policy := conversion.DefaultPolicy
	policy.Lease = time.Hour
	return standalone.Options{
		Data: data, Listen: "127.0.0.1:0", Transcoder: []string{transcoder}, S3: s3blob.Options{Bucket: "tonearm"},
		Gateway:    gateway.Options{OpenRegistration: true},
		Dispatcher: dispatcher.Options{MaxJobs: map[conversion.Class]int{conversion.CPU: 2}, MaxFilesPerJob: 20, Policy: policy},
		Log:        log, Started: started,
	}
}

// TestRestart: the files that an instance was converting when it ended are queued
// again when it starts, whether it was stopped or killed.
func TestRestart(t *testing.T) {
	video := filepath.Join(t.TempDir(), "tone.mp4")
	out, err := exec.CommandContext(t.Context(), mediatest.FFmpeg(t), "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440", "-t", "1", "-c:a", "aac", video).CombinedOutput()
	if err != nil {
		t.Fatalf("make video: %v %s", err, out)
	}
	hangs := filepath.Join(t.TempDir(), "transcoder") // it claims, and its ffmpeg never ends
	ffmpeg := filepath.Join(t.TempDir(), "ffmpeg")
	for path, script := range map[string]string{
		ffmpeg: "#!/bin/sh\nexec sleep 600\n",
		hangs:  "#!/bin/sh\nTONEARM_FFMPEG=" + ffmpeg + " exec " + transcoder + "\n",
	} {
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, sig := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			h := exec.Command(self, hostArg, data, hangs)
			h.Stderr = t.Output()
			printed, err := h.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Start(); err != nil {
				t.Fatal(err)
			}
			defer h.Process.Kill()
			url, err := bufio.NewReader(printed).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			c := login(t, strings.TrimSpace(url), true)
			ids := []string{begin(t, c, video).ID, begin(t, c, video).ID}
			for _, id := range ids {
				waittest.Until(t, time.Minute, "it runs", func() bool {
					cv, err := c.Conversion(t.Context(), id)
					return err == nil && cv.Progress != nil && cv.Progress.Phase != conversion.PhaseNone
				})
			}
			if err := h.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = h.Wait()

			started := make(chan standalone.Addresses, 1)
			s, err := standalone.New(restartOptions(data, transcoder, slog.New(slog.NewTextHandler(t.Output(), nil)), func(a standalone.Addresses) { started <- a }))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			c = login(t, (<-started).PublicURL, false)
			for _, id := range ids {
				waittest.Until(t, time.Minute, "it is done", func() bool {
					cv, err := c.Conversion(t.Context(), id)
					return err == nil && cv.State == conversion.Done && cv.Attempt == 2
				})
			}
		})
	}
}
