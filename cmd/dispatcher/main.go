// Command dispatcher turns uploads into attempts and attempts into results.
// dispatcher --help lists its flags; each has an environment twin TONEARM_….
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/config"
	"tonearm/dispatcher"
	"tonearm/internal/launch/execlaunch"
	"tonearm/internal/service"
)

type flags struct {
	listen     config.Listen
	stores     config.Stores
	dispatcher *config.Dispatcher
	attemptKey string
	eventToken string
	url        string // of this dispatcher, as transcoders reach it
	transcoder string
	workDir    string
}

func main() {
	var fl flags
	bind := func(f *pflag.FlagSet) {
		fl.listen.Bind(f, ":8081")
		fl.stores.BindRecords(f)
		fl.stores.BindUsers(f)
		fl.stores.BindQueue(f)
		fl.stores.BindS3(f)
		fl.dispatcher = config.BindDispatcher(f)
		f.StringVar(&fl.attemptKey, "attempt-key", "", "key of attempt tokens, at least 32 bytes in hex; all replicas share it")
		f.StringVar(&fl.eventToken, "event-token", "", "bearer token that the store's webhook sends")
		f.StringVar(&fl.url, "dispatcher-url", "", "URL at which transcoders reach this service")
		f.StringVar(&fl.transcoder, "transcoder", "", "transcoder program (default: the one beside this program)")
		f.StringVar(&fl.workDir, "work-dir", "", "directory of the attempts (default: a folder of the system's temporary one)")
	}
	cmd := config.Command("dispatcher", "Turn uploads into attempts and attempts into results", bind,
		func(cmd *cobra.Command, log *slog.Logger) error { return run(cmd.Context(), log, fl) })
	if cmd.ExecuteContext(context.Background()) != nil {
		os.Exit(1)
	}
}

func run(parent context.Context, log *slog.Logger, fl flags) error {
	ctx, cancel := service.SignalContext(parent, log)
	defer cancel()
	records, err := fl.stores.OpenRecords()
	if err != nil {
		return err
	}
	defer records.Close()
	users, err := fl.stores.OpenUsers()
	if err != nil {
		return err
	}
	defer users.Close()
	queue, err := fl.stores.OpenQueue()
	if err != nil {
		return err
	}
	defer queue.Close()
	blobs, err := fl.stores.OpenBlobs(log)
	if err != nil {
		return err
	}
	key, err := config.AttemptKey(fl.attemptKey)
	if err != nil {
		return err
	}
	launcher, err := newLauncher(fl, log)
	if err != nil {
		return err
	}
	registry := service.NewRegistry()
	o := fl.dispatcher.Options(fl.stores.S3.Bucket)
	o.Records, o.Accounts, o.Queue, o.Blobs, o.Launcher = records, users, queue, blobs, launcher
	o.AttemptKey, o.EventToken = key, fl.eventToken
	o.Log, o.Registerer = log, registry
	d, err := dispatcher.New(o)
	if err != nil {
		return errors.Join(err, launcher.Close())
	}
	p := service.NewProcess(log)
	p.Health.Check("records", records.Ping)
	p.Health.Check("users", users.Ping)
	p.Health.Check("queue", queue.Ping)
	p.Health.Check("objects", blobs.Ping)
	p.Add("admin", service.ListenHTTP(fl.listen.Admin, service.Admin(&p.Health, registry), time.Second, log))
	p.Await("records", records.Prepare)
	p.Await("users", users.Prepare)
	p.Add("dispatcher http", service.ListenHTTP(fl.listen.Addr, d.Handler(), 10*time.Second, log))
	p.Await("objects", d.Prepare)
	p.Add("dispatcher", d.Run)
	return p.Run(ctx)
}

func newLauncher(fl flags, log *slog.Logger) (*execlaunch.Launcher, error) {
	if fl.url == "" {
		return nil, errors.New("--dispatcher-url is required (or TONEARM_DISPATCHER_URL)")
	}
	if fl.transcoder == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		fl.transcoder = filepath.Join(filepath.Dir(self), "transcoder")
	}
	if fl.workDir == "" {
		fl.workDir = filepath.Join(os.TempDir(), "tonearm-attempts")
	}
	return execlaunch.New(execlaunch.Options{
		Command: []string{fl.transcoder}, Dir: fl.workDir, DispatcherURL: fl.url, Log: log,
		Env: config.TranscoderEnv(),
	})
}
