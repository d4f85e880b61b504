// Package launcher holds the flags that say where attempts run, and opens the
// launcher they ask for.
package launcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/attemptenv"
	"tonearm/cmd/internal/config"
	"tonearm/dispatcher"
	"tonearm/internal/launch"
	"tonearm/internal/launch/execlaunch"
	"tonearm/internal/lease"
	"tonearm/internal/media/ffmpeg/cage"
)

// Process is the kind of launcher whose attempts are children of this process.
const Process = "process"

// Flags say where attempts run.
type Flags struct {
	URL          string // of the dispatcher, as transcoders reach it
	Kind         string // process or kubernetes
	Transcoder   string // program of an attempt that is a child process
	WorkDir      string // of those attempts
	kubeconfig   string
	namespace    string
	lease        string
	classes      string
	image, gpu   string
	startTimeout time.Duration
}

// Bind adds the flags.
func Bind(f *pflag.FlagSet) *Flags {
	fl := &Flags{}
	f.StringVar(&fl.URL, "dispatcher-url", "", "`URL` at which transcoders reach the dispatcher")
	f.StringVar(&fl.Kind, "launcher", Process, "`WHERE` attempts run: process (as children of this program) or kubernetes (a Job for each)")
	f.StringVar(&fl.Transcoder, "transcoder", "", "transcoder `PROGRAM` (default: the one beside this program)")
	f.StringVar(&fl.WorkDir, "work-dir", "", "`FOLDER` for the files of attempts that run as processes (default: one in the system's temporary folder)")
	f.StringVar(&fl.kubeconfig, "kubeconfig", "", "kubeconfig `FILE` (default: the pod's service account)")
	f.StringVar(&fl.namespace, "jobs-namespace", "tonearm-jobs", "`NAMESPACE` of the Jobs; no other dispatcher may use it")
	f.StringVar(&fl.lease, "lease", "", "`NAME` of the lease that the replicas share, so that one of them launches: NAMESPACE/NAME of a Lease with --launcher kubernetes, any name with --launcher process, which keeps the lease in --records; empty for a single replica")
	f.StringVar(&fl.classes, "job-classes", "", "YAML `FILE` with resources, nodeSelector, tolerations, runtimeClass, priorityClass and startTimeout of the Jobs of class cpu and gpu")
	f.StringVar(&fl.image, "transcoder-image", "", "`IMAGE` of the Jobs of class cpu")
	f.StringVar(&fl.gpu, "transcoder-gpu-image", "", "`IMAGE` of the Jobs of class gpu; empty if there are none")
	f.DurationVar(&fl.startTimeout, "job-start-timeout", launch.DefaultStartTimeout, "a Job of class cpu whose container cannot be made by then, because of its image or configuration, has failed; for class gpu, see --gpu-wait")
	return fl
}

// Leading makes the dispatcher's own work run at once, or while this replica
// has the lease.
type Leading func(run func(context.Context) error) func(context.Context) error

func atOnce(run func(context.Context) error) func(context.Context) error { return run }

// Open returns the launcher of a dispatcher with these options, of which Records
// must be set, and when the dispatcher works.
func (fl *Flags) Open(ctx context.Context, o dispatcher.Options, log *slog.Logger, r prometheus.Registerer) (launch.Launcher, Leading, error) {
	if fl.URL == "" {
		return nil, nil, errors.New("--dispatcher-url is missing; set it, or the environment variable TONEARM_DISPATCHER_URL")
	}
	switch fl.Kind {
	case Process:
		l, err := fl.openProcess(ctx, log)
		if err != nil || fl.lease == "" {
			return l, atOnce, err
		}
		return l, fl.leadingInRecords(o.Records, log), nil
	case "kubernetes":
		return fl.openKubernetes(o, log, r)
	}
	return nil, nil, fmt.Errorf("--launcher: unknown launcher %q; use process or kubernetes", fl.Kind)
}

// leadingInRecords makes a part of a process run only while this replica has the
// lease in the records. A replica that loses it ends, and starts over as one that
// waits.
func (fl *Flags) leadingInRecords(records lease.Records, log *slog.Logger) Leading {
	return func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			identity, err := identity()
			if err != nil {
				return err
			}
			return lease.Lead(ctx, lease.Options{Records: records, Name: fl.lease, Identity: identity, Log: log}, run)
		}
	}
}

// identity names this process among all replicas. Containers on different
// machines may have the same host name and process id.
func identity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6]), nil
}

// Guard protects a process whose children run ffmpeg from it, and logs what confines
// ffmpeg.
func Guard(ctx context.Context, log *slog.Logger) {
	if err := cage.Hide(); err != nil {
		log.Warn("processes of the same user can look into this one", "error", err)
	}
	attemptenv.Confined(ctx, log)
}

func (fl *Flags) openProcess(ctx context.Context, log *slog.Logger) (launch.Launcher, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	Guard(ctx, log)
	l, err := execlaunch.New(execlaunch.Options{
		Command:       []string{cmp.Or(fl.Transcoder, filepath.Join(filepath.Dir(self), "transcoder"))},
		Dir:           cmp.Or(fl.WorkDir, filepath.Join(os.TempDir(), "tonearm-attempts")),
		DispatcherURL: fl.URL, Env: config.TranscoderEnv(), Log: log,
	})
	if errors.Is(err, execlaunch.ErrInUse) {
		err = fmt.Errorf("%w: stop it, or choose another folder with --work-dir", err)
	}
	if err != nil {
		return nil, err // not a launcher that is nil
	}
	return l, nil
}
