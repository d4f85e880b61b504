// Servers runs a command beside the real servers that Tonearm's tests want:
//
//	go run ./test/servers -- go test ./...
//
// It starts Redis, MariaDB, MinIO, FerretDB and a mail server on free loopback
// ports, with their files in a scratch folder, and passes their addresses to
// the command. It ends with the command's exit status. It leaves no process
// running and no file except the programs that it built. Without a command it
// prints the environment and keeps the servers running until it is interrupted.
// A server that is missing or does not start is always an error.
//
// The command gets:
//
//	TONEARM_TEST_REDIS     host:port
//	TONEARM_TEST_MYSQL     DSN without a database; its user may create some
//	TONEARM_TEST_MYSQL_CERTIFICATES
//	                       folder with ca.pem, which signed the server's certificate,
//	                       and with client.pem and client-key.pem
//	TONEARM_TEST_S3        URL of MinIO; keys tonearm and tonearm-secret
//	TONEARM_TEST_S3_ARN    notification target of every bucket
//	TONEARM_TEST_S3_RELAY  URL where receivers of its notifications register; see relay
//	TONEARM_TEST_MC        path of MinIO's client mc
//	TONEARM_TEST_FERRETDB  MongoDB URI of FerretDB behind its serialising proxy
//	TONEARM_TEST_SMTP      host:port of a mail server without TLS or login
//	TONEARM_TEST_MAILS     folder of the mails that it accepted, 000001.eml and so on
//	TONEARM_TEST_REQUIRE   1: a test that lacks a server fails; unset with -only
//
// With -addr the servers listen there instead, each on its usual port (MinIO
// 9000, FerretDB 27017, the mail server 1025), without passwords. This is for
// networks that nobody else uses, such as a test cluster's.
//
// If MinIO, mc and FerretDB are missing, they are built into bin under
// TONEARM_CACHE (default: tonearm in the user's cache directory), by version.
// Redis and MariaDB must be installed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"tonearm/test/server"
)

func main() {
	// Children die with the thread that started them, so this must be the main
	// thread; see isolate.
	runtime.LockOSThread()
	only := flag.String("only", "", "start these servers alone, a comma-separated `list` of "+strings.Join(names(), ", "))
	s := server.Scratch{Host: server.Loopback}
	flag.StringVar(&s.Host, "addr", s.Host, "`address` of this machine that the servers listen on")
	flag.StringVar(&s.Webhook, "webhook", "", "`URL` that MinIO posts its notifications to; default: the relay")
	flag.StringVar(&s.WebhookToken, "webhook-token", "", "bearer `token` for it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends this process at once
	status, err := run(ctx, &s, *only, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

// servers are started in this order.
var servers = []struct {
	name  string
	start func(*server.Scratch, context.Context) (*server.Server, error)
}{
	{"redis", (*server.Scratch).Redis},
	{"mariadb", (*server.Scratch).MariaDB},
	{"minio", (*server.Scratch).MinIO},
	{"ferretdb", (*server.Scratch).FerretDB},
	{"smtp", (*server.Scratch).SMTP},
}

func names() []string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return names
}

// run starts servers and the command, and returns its exit status.
func run(ctx context.Context, s *server.Scratch, only string, command []string) (int, error) {
	selected := names()
	if only != "" {
		selected = strings.Split(only, ",")
	}
	for _, name := range selected {
		if !slices.Contains(names(), name) {
			return 0, fmt.Errorf("no server %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	if err := server.EndWithParent(); err != nil {
		return 0, fmt.Errorf("bind to the parent process: %w", err)
	}
	if err := s.Open(); err != nil {
		return 0, err
	}
	defer s.Close()

	var env []string
	for _, v := range servers {
		if !slices.Contains(selected, v.name) {
			continue
		}
		started, err := v.start(s, ctx)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", v.name, err)
		}
		env = append(env, started.Env...)
	}
	if only == "" {
		env = append(env, "TONEARM_TEST_REQUIRE=1")
	}
	if len(command) > 0 {
		return s.Command(ctx, command, env)
	}
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		fmt.Printf("export %s='%s'\n", name, value)
	}
	_ = os.Stdout.Close() // so that the reader knows that this is all
	select {
	case <-ctx.Done():
		return 0, nil
	case p := <-s.Ended():
		return 0, p.Failure("ended while in use")
	}
}
