// Package attemptenv reads what a launcher tells a transcoder: its environment,
// an inherited lock and a lifeline.
package attemptenv

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/env"
	"tonearm/internal/attempt"
	"tonearm/internal/launch"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/ffmpeg/cage"
	"tonearm/transcoder"
)

// NewCommand returns the command that calls Run and exits.
func NewCommand() *cobra.Command {
	return &cobra.Command{
		Use: "transcoder", Short: "Convert one file, as a dispatcher asks",
		Long: `Convert one file: what a dispatcher starts for each attempt.

The dispatcher says in the environment what to do:
  TONEARM_DISPATCHER_URL      where to claim the attempt and report
  TONEARM_CONVERSION_ID
  TONEARM_ATTEMPT_TOKEN_FD    a descriptor from which the attempt's token is read
  TONEARM_ATTEMPT_TOKEN       the token, where there is no such descriptor
  TONEARM_LAUNCH_ID           tells this launch from another one of the same attempt
  TONEARM_WORK_DIR            a directory for this attempt alone
  TONEARM_FFMPEG              program; default: the ffmpeg in the folder of this
                              program, else that of PATH; ffprobe is not needed
  TONEARM_GPU_FFMPEG          program that decodes pictures on a GPU; default
                              TONEARM_FFMPEG
  TONEARM_MEMORY_LIMIT_BYTES  of each ffmpeg; default 1 GiB
  TONEARM_SILENCE             an attempt in which no byte was read and no sound
                              encoded for this long is ended; default 1m
  TONEARM_LOCK_FD             a descriptor that ffmpeg inherits
  TONEARM_LIFELINE            if set, the end of standard input ends the attempt`,
		Args: command.NoArgs, SilenceUsage: true,
		Run: func(*cobra.Command, []string) { os.Exit(Run()) },
	}
}

// Confined logs what confines the ffmpeg that transcoders run here.
func Confined(ctx context.Context, log *slog.Logger) {
	taken, err := ffmpeg.Program{Path: os.Getenv("TONEARM_FFMPEG")}.Confined(ctx)
	if err != nil {
		log.Warn("could not find out what confines ffmpeg", "error", err)
		return
	}
	holds, refused := cage.Said(taken)
	log.Info("ffmpeg is confined", "by", holds, "refused", refused)
}

// Run carries out the attempt that the environment describes, and returns the
// exit code. The command's help lists the variables.
func Run() int {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	env.Warn(log)
	if err := cage.Hide(); err != nil {
		log.Warn("processes of the same user can look into this one", "error", err)
	}
	token, err := launch.Token()
	if err != nil {
		fmt.Fprintln(os.Stderr, "transcoder:", err)
		return attempt.ExitUsage
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o := transcoder.Options{
		DispatcherURL: os.Getenv("TONEARM_DISPATCHER_URL"),
		ConversionID:  os.Getenv("TONEARM_CONVERSION_ID"),
		Token:         token,
		LaunchID:      os.Getenv("TONEARM_LAUNCH_ID"),
		Dir:           os.Getenv("TONEARM_WORK_DIR"),
		FFmpeg:        os.Getenv("TONEARM_FFMPEG"),
		GPUFFmpeg:     os.Getenv("TONEARM_GPU_FFMPEG"),
		Log:           log,
	}
	if limit := os.Getenv("TONEARM_MEMORY_LIMIT_BYTES"); limit != "" {
		n, err := strconv.ParseInt(limit, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "transcoder: TONEARM_MEMORY_LIMIT_BYTES must be a whole number of bytes")
			return attempt.ExitUsage
		}
		o.MemoryLimit = n
	}
	if silence := os.Getenv("TONEARM_SILENCE"); silence != "" {
		d, err := time.ParseDuration(silence)
		if err != nil || d <= 0 {
			fmt.Fprintln(os.Stderr, "transcoder: TONEARM_SILENCE must be a time such as 90s")
			return attempt.ExitUsage
		}
		o.Silence = d
	}
	if lock := os.Getenv("TONEARM_LOCK_FD"); lock != "" {
		fd, err := strconv.Atoi(lock)
		if err != nil || fd < 3 {
			fmt.Fprintln(os.Stderr, "transcoder: TONEARM_LOCK_FD must be the number of an open file, 3 or more")
			return attempt.ExitUsage
		}
		o.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "lock")}
	}
	if os.Getenv("TONEARM_LIFELINE") != "" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // returns when whoever holds the other end is gone
			cancel()
		}()
	}
	var beside sync.WaitGroup
	if o.ExtraFiles == nil { // otherwise whoever started this has said it once for all attempts
		beside.Go(func() { Confined(ctx, log) })
	}
	code := transcoder.Run(ctx, o)
	beside.Wait()
	return code
}
