// Command transcoder carries out one attempt: it is started by a dispatcher's
// launcher, with everything it needs in its environment. Its exit codes are in
// package attempt.
package main

import (
	"context"
	"log/slog"
	"os"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/internal/service"
	"tonearm/transcoder"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, cancel := service.SignalContext(context.Background(), log)
	code := transcoder.Run(attemptenv.Lifeline(ctx), attemptenv.Options(log))
	cancel()
	os.Exit(code)
}
