// Ferretdb serves the MongoDB protocol for tests, from FerretDB on SQLite
// files behind a serialising proxy: FerretDB v1 loses conditional updates that
// arrive on several connections at once, so one message at a time is in flight.
// It stands in for MongoDB on machines without one, in tests alone.
//
// It prints the URI of the proxy as its only line of standard output once it
// can be used, and ends on SIGTERM, on an interrupt, or when its standard input
// ends.
//
// It is a module of its own, so that Tonearm's lists only what Tonearm ships.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	dir := flag.String("dir", "", "`directory` of the database files, made if missing; required")
	listen := flag.String("listen", "127.0.0.1:0", "`address` of the proxy; port 0 is a free one")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() { // lives as long as the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx, *dir, *listen, log); err != nil {
		log.Error("ferretdb ended", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, dir, listen string, log *slog.Logger) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("database directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make database directory: %w", err)
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Logger:    log,
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
	})
	if err != nil {
		return fmt.Errorf("start FerretDB in %s: %w", dir, err)
	}
	front, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- db.Run(ctx)
	}()
	uri, err := url.Parse(db.MongoDBURI()) // waits until it listens
	if err != nil {
		return fmt.Errorf("address of FerretDB: %w", err)
	}
	fmt.Printf("mongodb://%s/\n", front.Addr())
	p := proxy{back: uri.Host, log: log}
	err = p.serve(ctx, front)
	cancel()
	return errors.Join(err, <-ended)
}
