package standalone

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/launch"
	"tonearm/internal/launch/execlaunch"
	"tonearm/internal/service"
	"tonearm/notifier"
)

// services are the services that use the stores.
type services struct {
	registry   *prometheus.Registry
	gateway    *gateway.Gateway
	dispatcher *dispatcher.Dispatcher
	notifier   *notifier.Notifier
	leading    Leading
}

func (r *instance) services() (s services, err error) {
	if err := r.data.dropLost("signing-keys.pem"); err != nil {
		return s, err
	}
	keys, err := jwttoken.LoadOrCreate(r.data.path("signing-keys.pem"))
	if err != nil {
		return s, err
	}
	tokens, err := jwttoken.New(jwttoken.Options{Keys: keys, Issuer: "tonearm"})
	if err != nil {
		return s, err
	}
	if s.registry, err = service.NewRegistry(); err != nil {
		return s, err
	}
	labelled := func(name string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"service": name}, s.registry)
	}

	do := r.Dispatcher
	do.Bucket = r.S3.Bucket
	do.EventToken, do.Log, do.Registerer = r.EventToken, r.Log, labelled("dispatcher")
	if do.AttemptKey, err = r.attemptKey(); err != nil {
		return s, err
	}
	if do.Launcher, s.leading, err = r.openLauncher(do); err != nil {
		return s, err
	}
	r.defers(func() { do.Launcher.Close() }) // if the dispatcher ran, it has closed it
	do.Records, do.Users, do.Queue, do.Objects = r.Records, r.Users, r.Queue, r.dispatcherObjects
	if s.dispatcher, err = dispatcher.New(do); err != nil {
		return s, err
	}

	no := r.Notifier
	no.PublicURL = r.Gateway.PublicURL
	no.Records, no.Mails, no.Queue, no.Tokens, no.Sender = r.Records, r.Users, r.Queue, tokens, r.Sender
	no.Log, no.Registerer = r.Log, labelled("notifier")
	if s.notifier, err = notifier.New(no); err != nil {
		return s, err
	}

	gate := r.Gateway
	gate.RecordRetention = do.Policy.RecordRetention
	gate.Records, gate.Users, gate.Tokens, gate.Objects, gate.Queue = r.Records, r.Users, tokens, r.gatewayObjects, r.Queue
	gate.Log, gate.Registerer = r.Log, labelled("gateway")
	s.gateway, err = gateway.New(gate)
	return s, err
}

func (r *instance) attemptKey() ([]byte, error) {
	secret, err := r.data.secret("attempt-key")
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(secret)
	if err != nil {
		return nil, fmt.Errorf("key of attempts in %s: %w", r.data.path("attempt-key"), err)
	}
	return key, nil
}

// openLauncher opens the launcher that the options name.
func (r *instance) openLauncher(o dispatcher.Options) (launch.Launcher, Leading, error) {
	if r.Launcher != nil {
		return r.Launcher(r.DispatcherURL, o, o.Registerer)
	}
	l, err := execlaunch.New(execlaunch.Options{
		Command: r.Transcoder, Env: r.TranscoderEnv, Dir: cmp.Or(r.WorkDir, r.data.path("attempts")), DispatcherURL: r.DispatcherURL, Log: r.Log,
	})
	return l, func(run func(context.Context) error) func(context.Context) error { return run }, err
}
