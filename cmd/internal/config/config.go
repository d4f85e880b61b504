// Package config holds the flags that several commands share, and what they
// open. Every flag has an environment twin: --s3-bucket is TONEARM_S3_BUCKET.
package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/internal/env"
	"tonearm/gateway"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/attempt"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/connection"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/mongoconversion"
	"tonearm/internal/limit"
	"tonearm/internal/limit/redislimit"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/service"
)

// Command returns a command that runs a service: flags and environment, and a
// logger. A wrong command line is told as text; what comes later, also the error that
// ends the service, is a line of the log.
func Command(use, short, example string, bind func(*pflag.FlagSet), run func(cmd *cobra.Command, log *slog.Logger) error) *cobra.Command {
	var level slog.Level
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: command.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := env.Set(cmd.Flags()); err != nil {
				return err
			}
			log := Logger(cmd.ErrOrStderr(), level)
			slog.SetDefault(log) // for libraries that write to the standard logger
			env.Warn(log)
			err := run(cmd, log)
			if err != nil {
				cmd.SilenceErrors = true // the log has it
				log.Error("the service ends", "error", err)
			}
			return err
		},
	}
	command.Setup(cmd)
	cmd.Flags().TextVar(&level, "log-level", slog.LevelInfo, "`LEVEL` of the log: debug, info, warn or error")
	bind(cmd.Flags())
	return cmd
}

// Logger returns the JSON logger of a service.
func Logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// Listen is where a service listens, and what clients may hold there.
type Listen struct {
	Addr, Admin string
	PerAddress  int            // connections
	Trusted     []netip.Prefix // the networks of proxies
}

// Limits are those of the clients.
func (l *Listen) Limits() service.Limits {
	return service.Limits{Connections: connection.Limits{PerAddress: l.PerAddress, Trusted: l.Trusted}}
}

// Bind adds the flags.
func (l *Listen) Bind(f *pflag.FlagSet, addr string) {
	f.StringVar(&l.Addr, "listen", addr, "`ADDRESS` to listen on, as host:port; :PORT listens on every address of this machine")
	l.BindAdmin(f)
}

// BindAdmin adds those of a service that only has the admin port.
func (l *Listen) BindAdmin(f *pflag.FlagSet) {
	f.StringVar(&l.Admin, "admin-listen", ":9090", "`ADDRESS` of /livez, /readyz and /metrics")
	f.IntVar(&l.PerAddress, "max-connections-per-address", connection.DefaultPerAddress, "`NUMBER` of connections that one IPv4 address, or one /64 of IPv6, may have open at each listener; -1 for no limit")
}

// Stores are the servers behind the services. A service binds those that it
// needs.
type Stores struct {
	Records, Database string
	Users             string
	UsersTLS          UsersTLS
	Queue, Prefix     string
	S3                s3blob.Options

	bound []func(*slog.Logger, *Opened) error
	pages *Pages
}

// Opened are stores in use; nil where the service binds none.
type Opened struct {
	Records *mongoconversion.Store
	Users   *sqlaccount.Store
	Mails   *sqlaccount.Store // the users' store, of which only the mails are used
	Queue   *redisqueue.Queue
	Objects *s3blob.Store

	QueueOptional bool // the service works without its queue, though not as well

	clock *service.Clock
}

// BindRecords adds the flags of the conversions' store.
func (s *Stores) BindRecords(f *pflag.FlagSet) {
	f.StringVar(&s.Records, "records", "", "`URI` of the MongoDB server that keeps the conversions, such as mongodb://host:27017")
	f.StringVar(&s.Database, "records-database", "tonearm", "`NAME` of the MongoDB database")
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Records, err = s.OpenRecords(log); return err })
}

// BindUsers adds the flags of the users' store.
func (s *Stores) BindUsers(f *pflag.FlagSet) {
	f.StringVar(&s.Users, "users", "", "`DSN` of the MySQL server that keeps the accounts, such as user:password@tcp(host:3306)/tonearm")
	s.UsersTLS.Bind(f)
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Users, err = s.OpenUsers(log); return err })
}

// BindMails adds the flags of the users' store for a service that sends the
// mails that are owed there. It works without.
func (s *Stores) BindMails(f *pflag.FlagSet) {
	f.StringVar(&s.Users, "users", "", "`DSN` of the MySQL server that keeps the accounts, to send their mails; its user needs SELECT and UPDATE on the table account_mails and nothing else")
	s.UsersTLS.Bind(f)
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) {
		if s.Users == "" {
			log.Warn("no --users: mails that prove addresses and set passwords anew are left to other notifiers")
			return nil
		}
		o.Mails, err = s.OpenUsers(log)
		return err
	})
}

// BindQueue adds the flags of the queue.
func (s *Stores) BindQueue(f *pflag.FlagSet) {
	f.StringVar(&s.Queue, "queue", "", "`URL` of the Redis that carries the queue: redis://host:6379/0, redis+cluster://host:6379 or redis+sentinel://host:26379/0?master_name=NAME")
	f.StringVar(&s.Prefix, "queue-prefix", redisqueue.DefaultPrefix, "`PREFIX` of all Redis keys")
	s.bound = append(s.bound, func(_ *slog.Logger, o *Opened) (err error) { o.Queue, err = s.OpenQueue(); return err })
}

// BindS3 adds the flags of the object store.
func (s *Stores) BindS3(f *pflag.FlagSet) {
	f.StringVar(&s.S3.Endpoint, "s3-endpoint", "", "`URL` at which services and transcoders reach the object store")
	f.StringVar(&s.S3.PublicEndpoint, "s3-public-endpoint", "", "`URL` at which people reach the object store (default: --s3-endpoint)")
	f.StringVar(&s.S3.Region, "s3-region", s3blob.DefaultRegion, "`REGION` of the bucket")
	f.StringVar(&s.S3.Bucket, "s3-bucket", "tonearm", "`NAME` of the bucket for videos and MP3s")
	f.StringVar(&s.S3.AccessKey, "s3-access-key", "", "access `KEY`; if empty, the AWS SDK looks for credentials: environment, files, web identity (IRSA), container, instance")
	f.StringVar(&s.S3.SecretKey, "s3-secret-key", "", "secret `KEY` of --s3-access-key")
	f.StringVar(&s.S3.NotifyARN, "s3-notify-arn", "", "`ARN` of the store's webhook that calls the dispatcher; leave it empty if somebody else sets the bucket's notifications")
	f.BoolVar(&s.S3.PathStyle, "s3-path-style", false, "on AWS, name the bucket in the path instead of the host; other stores always get it so")
	f.StringSliceVar(&s.S3.CORSOrigins, "s3-cors-origins", nil, "`ORIGINS` of web pages that may use the object store, in place of those of --public-url and --cors-origins")
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Objects, err = s.OpenObjects(log); return err })
}

// Pages are the web pages that may use the gateway and the object store.
type Pages struct {
	PublicURL   string
	CORSOrigins []string
}

// BindPages adds the flags of a service that sets the CORS rules of the bucket.
func (s *Stores) BindPages(f *pflag.FlagSet) {
	s.pages = &Pages{}
	f.StringVar(&s.pages.PublicURL, "public-url", defaultPublicURL, "`URL` at which people reach the gateway; its pages may use the object store")
	corsOrigins(f, &s.pages.CORSOrigins)
}

func corsOrigins(f *pflag.FlagSet, to *[]string) {
	f.StringSliceVar(to, "cors-origins", nil, "`ORIGINS` of other web pages that may use the API, with a token, and the object store, separated by commas, such as https://app.example.org; the same for gateways and dispatchers (default: only that of --public-url)")
}

// Open opens what is bound, all of which has to be configured, without
// contacting it.
func (s *Stores) Open(log *slog.Logger) (*Opened, error) {
	o := &Opened{}
	for _, open := range s.bound {
		if err := open(log, o); err != nil {
			o.Close()
			return nil, err
		}
	}
	return o, nil
}

// Close releases the stores.
func (o *Opened) Close() {
	if o.Records != nil {
		o.Records.Close()
	}
	if o.Users != nil {
		o.Users.Close()
	}
	if o.Mails != nil {
		o.Mails.Close()
	}
	if o.Queue != nil {
		o.Queue.Close()
	}
}

// Clock returns the time of the conversions' store, once Attach's parts run.
func (o *Opened) Clock(log *slog.Logger, r prometheus.Registerer) (now func() time.Time, err error) {
	o.clock, err = service.NewClock(o.Records.Now, log, r)
	if err != nil {
		return nil, err
	}
	if o.Queue != nil {
		o.Queue.UseClock(o.clock.Now)
	}
	return o.clock.Now, nil
}

// Attach makes the process ready only while its stores answer, and its next
// parts start only once they are prepared.
func (o *Opened) Attach(p *service.Process) {
	if o.Records != nil {
		p.Health.Check("records", o.Records.Ping)
		p.Prepare("records", o.Records.Prepare)
		p.Await("clock", o.clock.Measure)
		p.Add("clock", o.clock.Run)
	}
	if o.Users != nil {
		p.Health.Check("users", o.Users.Ping)
		p.Prepare("users", o.Users.Prepare)
	}
	if o.Mails != nil { // outcomes are mailed without it
		p.Health.Warn("users", func(ctx context.Context) error { // also before a gateway has made the table
			_, err := o.Mails.DueMails(ctx, time.Now(), 1)
			return err
		})
	}
	if o.Queue != nil {
		ready := p.Health.Check
		if o.QueueOptional {
			ready = p.Health.Warn // without it, work is delayed, and whoever waits for a change asks the records
		}
		ready("queue", o.Queue.Ping)
	}
	if o.Objects != nil {
		p.Health.Check("objects", o.Objects.Ping)
	}
}

// OpenRecords opens the conversions' store, which has to be configured, without
// contacting it.
func (s *Stores) OpenRecords(log *slog.Logger) (*mongoconversion.Store, error) {
	if s.Records == "" {
		return nil, missing("records")
	}
	return mongoconversion.Open(s.Records, s.Database, log)
}

// OpenUsers does the same with the users' store.
func (s *Stores) OpenUsers(log *slog.Logger) (*sqlaccount.Store, error) {
	if s.Users == "" {
		return nil, missing("users")
	}
	tlsConfig, err := s.UsersTLS.Config()
	if err != nil {
		return nil, err
	}
	return sqlaccount.OpenMySQL(s.Users, tlsConfig, log)
}

// UsersTLS are the files for TLS with the users' MySQL server.
type UsersTLS struct{ CA, Cert, Key string }

// Bind adds the flags.
func (t *UsersTLS) Bind(f *pflag.FlagSet) {
	f.StringVar(&t.CA, "users-ca", "", "PEM `FILE` with the authorities that may have signed the MySQL server's certificate; turns TLS on")
	f.StringVar(&t.Cert, "users-cert", "", "PEM `FILE` with the client's certificate for MySQL; turns TLS on and needs --users-key")
	f.StringVar(&t.Key, "users-key", "", "PEM `FILE` with the key of --users-cert")
}

// Config reads the files; nil where none is given and the DSN decides.
func (t *UsersTLS) Config() (*tls.Config, error) {
	if *t == (UsersTLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(filepath.Clean(t.CA))
		if err != nil {
			return nil, fmt.Errorf("--users-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--users-ca: %s has no certificate in PEM form", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("--users-cert and --users-key are needed together; set both or neither")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("--users-cert and --users-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// OpenQueue does the same with the queue.
func (s *Stores) OpenQueue() (*redisqueue.Queue, error) {
	if s.Queue == "" {
		return nil, missing("queue")
	}
	return redisqueue.Open(s.Queue, s.Prefix)
}

// Limits are what gateways count together, in the Redis of the queue.
func (s *Stores) Limits(q *redisqueue.Queue) limit.Store {
	return redislimit.New(q.Client(), cmp.Or(s.Prefix, redisqueue.DefaultPrefix))
}

// OpenObjects does the same with the object store.
func (s *Stores) OpenObjects(log *slog.Logger) (*s3blob.Store, error) {
	if s.S3.Endpoint == "" {
		return nil, missing("s3-endpoint")
	}
	origins, err := s.origins()
	if err != nil {
		return nil, err
	}
	o := s.S3
	o.Log, o.CORSOrigins = log, origins
	return s3blob.New(o)
}

// origins are those of the pages that may use the object store.
func (s *Stores) origins() ([]string, error) {
	if s.pages == nil || len(s.S3.CORSOrigins) > 0 {
		return s.S3.CORSOrigins, nil
	}
	return gateway.Origins(s.pages.PublicURL, s.pages.CORSOrigins)
}

func missing(flag string) error {
	return fmt.Errorf("--%s is missing; set it, or the environment variable %s", flag, env.Name(flag))
}

// Policy binds the durations and limits of transitions.
func Policy(f *pflag.FlagSet) *conversion.Policy {
	p := conversion.DefaultPolicy
	f.DurationVar(&p.Lease, "attempt-lease", p.Lease, "an attempt that reports nothing for this long counts as lost")
	f.IntVar(&p.MaxAttempts, "max-attempts", p.MaxAttempts, "`NUMBER` of failed attempts after which the conversion has failed")
	f.IntVar(&p.MaxLaunches, "max-launches", p.MaxLaunches, "`NUMBER` of attempts in all, lost ones included, after which the conversion has failed")
	f.DurationVar(&p.Backoff, "retry-backoff", p.Backoff, "pause before the second attempt; it doubles each time")
	f.DurationVar(&p.SourceRetention, "source-retention", p.SourceRetention, "a video is removed this long after its conversion ended; 0 keeps it")
	f.DurationVar(&p.MP3Retention, "mp3-retention", 0, "an MP3 is removed this long after it was made, and the mail says when; 0 keeps it")
	RecordRetention(f, &p.RecordRetention)
	f.DurationVar(&p.URLExpiry, "attempt-url-expiry", p.URLExpiry, "lifetime of the URLs that transcoders get")
	return &p
}

// RecordRetention binds the flag that gateway and dispatcher share: a conversion
// may end in either.
func RecordRetention(f *pflag.FlagSet, d *time.Duration) {
	f.DurationVar(d, "record-retention", 0, "a conversion is deleted, with its MP3, this long after it ended; 0 keeps it")
}

// AttemptKey reads the key of attempt tokens, in hex.
func AttemptKey(s string) (attempt.Key, error) {
	key, err := hex.DecodeString(s)
	if err != nil || len(key) < 32 {
		return nil, errors.New("--attempt-key must be at least 32 bytes in hex; openssl rand -hex 32 makes such a key")
	}
	return key, nil
}

// Tokens are the keys and lives of the tokens that people get.
type Tokens struct {
	KeyFile, DownloadKeyFile, Issuer string
	AccessLife                       time.Duration
}

// Bind adds the flags.
func (t *Tokens) Bind(f *pflag.FlagSet) {
	f.StringVar(&t.KeyFile, "signing-keys", "", "PEM `FILE` with Ed25519 keys, as openssl genpkey -algorithm ed25519 makes them; the first key signs, all of them verify")
	f.StringVar(&t.DownloadKeyFile, "download-keys", "", "PEM `FILE` with Ed25519 keys that are good for the links to MP3s and nothing else; give it to the gateways first, then to the notifiers, which then need no --signing-keys")
	f.StringVar(&t.Issuer, "token-issuer", "tonearm", "`NAME` of the issuer (iss) in tokens")
	f.DurationVar(&t.AccessLife, "token-life", jwttoken.DefaultAccessLife, "lifetime of access tokens")
}

// Open reads the keys of a gateway.
func (t *Tokens) Open() (*jwttoken.Tokens, error) {
	if t.KeyFile == "" {
		return nil, missing("signing-keys")
	}
	return t.open()
}

// OpenDownloads reads the keys of a service that signs links to MP3s and nothing
// else. --signing-keys are enough, as for a version before --download-keys.
func (t *Tokens) OpenDownloads() (*jwttoken.Tokens, error) {
	if t.KeyFile == "" && t.DownloadKeyFile == "" {
		return nil, missing("download-keys")
	}
	return t.open()
}

func (t *Tokens) open() (*jwttoken.Tokens, error) {
	o := jwttoken.Options{Issuer: t.Issuer, AccessLife: t.AccessLife}
	for _, f := range []struct {
		flag, path string
		to         *[]jwttoken.Key
	}{{"signing-keys", t.KeyFile, &o.Keys}, {"download-keys", t.DownloadKeyFile, &o.DownloadKeys}} {
		if f.path == "" {
			continue
		}
		pem, err := os.ReadFile(filepath.Clean(f.path))
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
		if *f.to, err = jwttoken.ParseKeys(pem); err != nil {
			return nil, fmt.Errorf("--%s: %s: %w", f.flag, f.path, err)
		}
	}
	return jwttoken.New(o)
}

// SMTP binds the flags of the mail server.
func SMTP(f *pflag.FlagSet) *smtpmail.Options {
	o := &smtpmail.Options{}
	f.StringVar(&o.Host, "smtp-host", "", "`HOST` of the mail server")
	f.IntVar(&o.Port, "smtp-port", 0, "`PORT` of the mail server (default 587, 465 or 25, by --smtp-tls)")
	f.StringVar(&o.Username, "smtp-username", "", "`NAME` to log in with at the mail server; empty for no login")
	f.StringVar(&o.Password, "smtp-password", "", "`PASSWORD` of --smtp-username")
	f.StringVar((*string)(&o.TLS), "smtp-tls", string(smtpmail.DefaultTLS), "`HOW` the connection to the mail server is encrypted: starttls, implicit or none")
	f.StringVar(&o.From, "mail-from", "Tonearm <tonearm@localhost>", "`SENDER` of the mails")
	f.DurationVar(&o.Timeout, "smtp-timeout", smtpmail.DefaultTimeout, "time limit of one mail, from the connection until all of it is sent; the server may take 10 minutes more to accept it")
	return o
}
