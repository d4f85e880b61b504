// Package config holds the flags that several commands share, and what they
// open. Every flag has an environment twin: --s3-bucket is TONEARM_S3_BUCKET.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tonearm/cmd/internal/env"
	"tonearm/internal/account/jwttoken"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/attempt"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/conversion/mongoconversion"
	"tonearm/internal/mail/smtpmail"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/service"
)

// Command returns a command that runs a service: flags and environment, a
// logger, and errors on standard error.
func Command(use, short string, bind func(*pflag.FlagSet), run func(cmd *cobra.Command, log *slog.Logger) error) *cobra.Command {
	var level slog.Level
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := env.Set(cmd.Flags()); err != nil {
				return err
			}
			log := Logger(cmd.ErrOrStderr(), level)
			env.Warn(log)
			return run(cmd, log)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return env.FlagError(cmd.Flags(), err) })
	cmd.Flags().TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	bind(cmd.Flags())
	return cmd
}

// Logger returns the JSON logger of a service.
func Logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// Listen is where a service listens.
type Listen struct{ Addr, Admin string }

// Bind adds the flags.
func (l *Listen) Bind(f *pflag.FlagSet, addr string) {
	f.StringVar(&l.Addr, "listen", addr, "address to serve on")
	f.StringVar(&l.Admin, "admin-listen", ":9090", "address of /livez, /readyz and /metrics")
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
}

// Opened are stores in use; nil where the service binds none.
type Opened struct {
	Records *mongoconversion.Store
	Users   *sqlaccount.Store
	Queue   *redisqueue.Queue
	Objects *s3blob.Store
}

// BindRecords adds the flags of the conversions' store.
func (s *Stores) BindRecords(f *pflag.FlagSet) {
	f.StringVar(&s.Records, "records", "", "MongoDB URI of the conversions")
	f.StringVar(&s.Database, "records-database", "tonearm", "MongoDB database")
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Records, err = s.OpenRecords(log); return err })
}

// BindUsers adds the flags of the users' store.
func (s *Stores) BindUsers(f *pflag.FlagSet) {
	f.StringVar(&s.Users, "users", "", "MySQL DSN of the users, such as user:password@tcp(host:3306)/tonearm")
	s.UsersTLS.Bind(f)
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Users, err = s.OpenUsers(log); return err })
}

// BindQueue adds the flags of the queue.
func (s *Stores) BindQueue(f *pflag.FlagSet) {
	f.StringVar(&s.Queue, "queue", "", "Redis URL of the queue, such as redis://host:6379/0")
	f.StringVar(&s.Prefix, "queue-prefix", redisqueue.DefaultPrefix, "prefix of all Redis keys")
	s.bound = append(s.bound, func(_ *slog.Logger, o *Opened) (err error) { o.Queue, err = s.OpenQueue(); return err })
}

// BindS3 adds the flags of the object store.
func (s *Stores) BindS3(f *pflag.FlagSet) {
	f.StringVar(&s.S3.Endpoint, "s3-endpoint", "", "URL of the object store, as services and transcoders reach it")
	f.StringVar(&s.S3.PublicEndpoint, "s3-public-endpoint", "", "URL of the object store, as people reach it (default --s3-endpoint)")
	f.StringVar(&s.S3.Region, "s3-region", s3blob.DefaultRegion, "region of the bucket")
	f.StringVar(&s.S3.Bucket, "s3-bucket", "tonearm", "bucket of sources and MP3s")
	f.StringVar(&s.S3.AccessKey, "s3-access-key", "", "access key; '' takes the credentials that the AWS SDK finds: environment, files, web identity (IRSA), container, instance")
	f.StringVar(&s.S3.SecretKey, "s3-secret-key", "", "secret key")
	f.StringVar(&s.S3.NotifyARN, "s3-notify-arn", "", "ARN of the store's webhook that calls the dispatcher; '' where the bucket's notification is set by somebody else")
	f.BoolVar(&s.S3.PathStyle, "s3-path-style", false, "on AWS, name the bucket in the path instead of the host; other stores always get it so")
	f.StringSliceVar(&s.S3.CORSOrigins, "s3-cors-origins", []string{s3blob.DefaultCORSOrigin}, "origins of web pages that may upload")
	s.bound = append(s.bound, func(log *slog.Logger, o *Opened) (err error) { o.Objects, err = s.OpenObjects(log); return err })
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
	if o.Queue != nil {
		o.Queue.Close()
	}
}

// Attach makes the process ready only while its stores answer, and its next
// parts start only once they are prepared.
func (o *Opened) Attach(p *service.Process) {
	if o.Records != nil {
		p.Health.Check("records", o.Records.Ping)
		p.Prepare("records", o.Records.Prepare)
	}
	if o.Users != nil {
		p.Health.Check("users", o.Users.Ping)
		p.Prepare("users", o.Users.Prepare)
	}
	if o.Queue != nil {
		p.Health.Check("queue", o.Queue.Ping)
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
	f.StringVar(&t.CA, "users-ca", "", "PEM file with the certificates that may have signed the MySQL server's; asks for TLS")
	f.StringVar(&t.Cert, "users-cert", "", "PEM file with the client's certificate for MySQL; asks for TLS")
	f.StringVar(&t.Key, "users-key", "", "PEM file with its key")
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
		return nil, errors.New("--users-cert and --users-key are needed together")
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

// OpenObjects does the same with the object store.
func (s *Stores) OpenObjects(log *slog.Logger) (*s3blob.Store, error) {
	if s.S3.Endpoint == "" {
		return nil, missing("s3-endpoint")
	}
	o := s.S3
	o.Log = log
	return s3blob.New(o)
}

func missing(flag string) error {
	return fmt.Errorf("--%s is required (or %s)", flag, env.Name(flag))
}

// Policy binds the durations and limits of transitions.
func Policy(f *pflag.FlagSet) *conversion.Policy {
	p := conversion.DefaultPolicy
	f.DurationVar(&p.Lease, "attempt-lease", p.Lease, "an attempt silent for this long is presumed lost")
	f.IntVar(&p.MaxAttempts, "max-attempts", p.MaxAttempts, "failed attempts before a conversion fails")
	f.IntVar(&p.MaxLaunches, "max-launches", p.MaxLaunches, "attempts in all, lost ones included")
	f.DurationVar(&p.Backoff, "retry-backoff", p.Backoff, "pause before a second attempt; doubles each time")
	f.DurationVar(&p.SourceRetention, "source-retention", p.SourceRetention, "uploads are removed this long after they were converted; 0 keeps them")
	RecordRetention(f, &p.RecordRetention)
	f.DurationVar(&p.URLExpiry, "attempt-url-expiry", p.URLExpiry, "validity of the URLs that transcoders get")
	return &p
}

// RecordRetention binds the flag that gateway and dispatcher share: a conversion
// may end in either.
func RecordRetention(f *pflag.FlagSet, d *time.Duration) {
	f.DurationVar(d, "record-retention", 0, "a conversion that has ended is deleted this long after, with its MP3; 0 keeps it")
}

// AttemptKey reads the key of attempt tokens, in hex.
func AttemptKey(s string) (attempt.Key, error) {
	key, err := hex.DecodeString(s)
	if err != nil || len(key) < 32 {
		return nil, errors.New("--attempt-key: want at least 32 bytes in hex, such as openssl rand -hex 32 prints")
	}
	return key, nil
}

// Tokens are the keys and lives of the tokens that people get.
type Tokens struct {
	KeyFile, Issuer string
	AccessLife      time.Duration
}

// Bind adds the flags.
func (t *Tokens) Bind(f *pflag.FlagSet) {
	f.StringVar(&t.KeyFile, "signing-keys", "", "PEM file with Ed25519 keys (openssl genpkey -algorithm ed25519); the first signs, all verify")
	f.StringVar(&t.Issuer, "token-issuer", "tonearm", "iss of tokens")
	f.DurationVar(&t.AccessLife, "token-life", jwttoken.DefaultAccessLife, "validity of access tokens")
}

// Open reads the keys.
func (t *Tokens) Open() (*jwttoken.Tokens, error) {
	if t.KeyFile == "" {
		return nil, missing("signing-keys")
	}
	pem, err := os.ReadFile(filepath.Clean(t.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	keys, err := jwttoken.ParseKeys(pem)
	if err != nil {
		return nil, fmt.Errorf("signing keys in %s: %w", t.KeyFile, err)
	}
	return jwttoken.New(jwttoken.Options{Keys: keys, Issuer: t.Issuer, AccessLife: t.AccessLife})
}

// SMTP binds the flags of the mail server.
func SMTP(f *pflag.FlagSet) *smtpmail.Options {
	o := &smtpmail.Options{}
	f.StringVar(&o.Host, "smtp-host", "", "mail server")
	f.IntVar(&o.Port, "smtp-port", 0, "port of the mail server (default 587, 465 or 25, by --smtp-tls)")
	f.StringVar(&o.Username, "smtp-username", "", "user of the mail server; '' for none")
	f.StringVar(&o.Password, "smtp-password", "", "password of the mail server")
	f.StringVar((*string)(&o.TLS), "smtp-tls", string(smtpmail.DefaultTLS), "starttls, implicit or none")
	f.StringVar(&o.From, "mail-from", "Tonearm <tonearm@localhost>", "sender of the mails")
	f.DurationVar(&o.Timeout, "smtp-timeout", smtpmail.DefaultTimeout, "for one mail, from connecting to its acceptance")
	return o
}
