package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tonearm/dispatcher"
	"tonearm/gateway"
	"tonearm/internal/account"
	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/notifier"
)

// Defaults of flags that have no default in the Options, where they are
// required.
const (
	defaultPublicURL = "http://localhost:8080"
	defaultMaxJobs   = 4 // of class cpu
)

// Gateway binds the flags of a gateway that are not a store's.
func Gateway(f *pflag.FlagSet, o *gateway.Options) {
	f.StringVar(&o.PublicURL, "public-url", defaultPublicURL, "`URL` at which people reach the gateway")
	corsOrigins(f, &o.CORSOrigins)
	f.BoolVar(&o.OpenRegistration, "open-registration", false, "let anybody make an account (POST /v1/users)")
	f.BoolVar(&o.SelfConfirm, "self-confirm", false, "accounts that people make count at once, without a mail that proves the address; only where nobody else reaches the gateway")
	f.Int64Var(&o.MaxUploadBytes, "max-upload-bytes", account.DefaultMaxUploadBytes, "largest video in `BYTES`, for accounts without a limit of their own")
	f.DurationVar(&o.UploadWindow, "upload-window", gateway.DefaultUploadWindow, "an upload that is not finished by then expires")
	f.DurationVar(&o.URLExpiry, "url-expiry", gateway.DefaultURLExpiry, "lifetime of upload URLs")
	quotaVar(f, &o.Quotas, account.QuotaWaiters, "requests with ?wait= that a user may have open at a time")
	quotaVar(f, &o.Quotas, account.QuotaGatewayUploads, "uploads through the gateway that a user may have under way at a time")
	o.MaxWaiters, o.MaxGatewayUploads = gateway.DefaultMaxWaiters, gateway.DefaultMaxGatewayUploads
	f.Var((*quotaValue)(&o.MaxWaiters), "max-waiters-overall", "`NUMBER` of requests with ?wait= that all users together may have open at one gateway; -1 for no limit")
	f.Var((*quotaValue)(&o.MaxGatewayUploads), "max-gateway-uploads-overall", "`NUMBER` of uploads through one gateway that all users together may have under way; -1 for no limit")
	f.Var((*prefixes)(&o.TrustedProxies), "trusted-proxies", "`CIDRS` of the proxies before the gateway, separated by commas; what they write into X-Forwarded-For says where a request came from")
}

// Quotas binds the flags of the quotas that gateways and dispatchers look at. Both need
// the same values.
func Quotas(f *pflag.FlagSet) *account.Limits {
	l := &account.Limits{}
	quotaVar(f, l, account.QuotaOpenUploads, "uploads that a user may have begun and not finished")
	quotaVar(f, l, account.QuotaQueued, "conversions of a user that may wait for their turn")
	quotaVar(f, l, account.QuotaStored, "bytes of videos and MP3s that a user may have in the object store")
	quotaVar(f, l, account.QuotaDailyBytes, "bytes of videos that a user may upload a day (UTC)")
	quotaVar(f, l, account.QuotaDailySound, "seconds of sound that a user may convert a day (UTC)")
	return l
}

// quotaVar adds the flag of one quota, which is named after it.
func quotaVar(f *pflag.FlagSet, l *account.Limits, q account.Quota, what string) {
	value := l.At(q)
	*value = account.DefaultLimits.Of(q)
	f.Var((*quotaValue)(value), "max-"+strings.ReplaceAll(string(q), "_", "-"), "`NUMBER` of "+what+", unless the user has a limit of their own (tonearm user limits); -1 for no limit")
}

// quotaValue is a flag that takes a number above 0, or account.Unlimited.
type quotaValue int64

// String implements pflag.Value.
func (v *quotaValue) String() string { return strconv.FormatInt(int64(*v), 10) }

// Type implements pflag.Value.
func (v *quotaValue) Type() string { return "number" }

// Set implements pflag.Value.
func (v *quotaValue) Set(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n == 0 || n < account.Unlimited {
		return errors.New("it takes a whole number above 0, or -1 for no limit")
	}
	*v = quotaValue(n)
	return nil
}

// prefixes is a flag that takes networks, or addresses, separated by commas.
type prefixes []netip.Prefix

// String implements pflag.Value.
func (p *prefixes) String() string {
	var all []string
	for _, prefix := range *p {
		all = append(all, prefix.String())
	}
	return strings.Join(all, ",")
}

// Type implements pflag.Value.
func (p *prefixes) Type() string { return "networks" }

// Set implements pflag.Value. It replaces what was there.
func (p *prefixes) Set(value string) error {
	*p = nil
	for entry := range strings.SplitSeq(value, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(entry)
		if addr, wrong := netip.ParseAddr(entry); wrong == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", entry)
		}
		*p = append(*p, prefix)
	}
	return nil
}

// Dispatcher holds the flags of a dispatcher that are not a store's.
type Dispatcher struct {
	policy      *conversion.Policy
	cpu, gpu    int
	files       int
	gpuWait     time.Duration
	target      time.Duration
	maxUpload   int64
	maxDuration time.Duration
	maxMP3      int64
	quotas      account.Limits // QuotaRunning alone
	inboxEvery  time.Duration
	inboxWait   time.Duration
	oldSources  bool
}

// BindDispatcher adds them. target is the default of --target.
func BindDispatcher(f *pflag.FlagSet, target time.Duration) *Dispatcher {
	d := &Dispatcher{policy: Policy(f)}
	f.IntVar(&d.cpu, "max-jobs", defaultMaxJobs, "`NUMBER` of attempts of class cpu at a time")
	f.IntVar(&d.gpu, "max-gpu-jobs", 0, "`NUMBER` of attempts of class gpu at a time; 0 if there is no GPU")
	f.IntVar(&d.files, "max-files-per-job", dispatcher.DefaultMaxFilesPerJob, "`NUMBER` of files of one owner that a Job or child process converts one after the other, while nobody else waits and they fit it")
	running := (*quotaValue)(d.quotas.At(account.QuotaRunning))
	f.Var(running, "max-running-attempts", "`NUMBER` of attempts of a class that a user may have running while somebody else's conversions wait, unless the user has a limit of their own; -1 for no limit (default: half of --max-jobs)")
	f.DurationVar(&d.gpuWait, "gpu-wait", dispatcher.DefaultGPUWait, "a conversion that waits for a GPU longer than this, or cannot be started there, runs without one")
	f.DurationVar(&d.target, "target", target, "finish everything that waits within this time, with as few attempts as that takes; 0 starts as many as may run")
	f.Int64Var(&d.maxUpload, "max-inbox-bytes", account.DefaultMaxUploadBytes, "largest video in the inbox in `BYTES`, for accounts without a limit of their own")
	f.DurationVar(&d.maxDuration, "max-duration", attempt.DefaultMaxDuration, "longest audio of one video")
	f.Int64Var(&d.maxMP3, "max-mp3-bytes", attempt.DefaultMaxMP3Bytes, "largest MP3 in `BYTES`")
	f.DurationVar(&d.inboxEvery, "inbox-every", dispatcher.DefaultInboxEvery, "pause between two listings of the inbox")
	f.DurationVar(&d.inboxWait, "inbox-wait", dispatcher.DefaultInboxWait, "whoever proves an address gets what was dropped into its inbox this long before; older drops stay; 0 for none from before")
	f.BoolVar(&d.oldSources, "old-sources", false, "--source-retention is also for videos whose conversion failed or was canceled under a version before 0.2; give it once")
	return d
}

// Options returns what the flags say.
func (d *Dispatcher) Options(bucket string) dispatcher.Options {
	o := dispatcher.Options{
		Bucket: bucket, Policy: *d.policy, MaxJobs: map[conversion.Class]int{conversion.CPU: d.cpu, conversion.GPU: d.gpu},
		MaxFilesPerJob: d.files, GPUWait: d.gpuWait, Target: d.target, MaxUploadBytes: d.maxUpload, InboxEvery: d.inboxEvery, InboxWait: d.inboxWait,
		OldSources: d.oldSources, Quotas: d.quotas,
	}
	o.Limits.MaxDurationSeconds, o.Limits.MaxMP3Bytes = d.maxDuration.Seconds(), d.maxMP3
	return o
}

// Notifier binds the flags of a notifier that are not a store's.
func Notifier(f *pflag.FlagSet, o *notifier.Options) {
	f.StringVar(&o.PublicURL, "public-url", defaultPublicURL, "`URL` at which people reach the gateway")
	f.StringVar(&o.Domain, "message-id-domain", "", "`DOMAIN` on the right side of Message-IDs (default: the host of --public-url)")
	f.IntVar(&o.Concurrency, "mail-concurrency", notifier.DefaultConcurrency, "`NUMBER` of mails sent at a time")
}

// TranscoderEnv is the part of the environment that transcoders started as
// child processes share with their launcher. They run in another folder, so
// paths to programs become absolute.
func TranscoderEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TONEARM_FFMPEG", "TONEARM_GPU_FFMPEG", "TONEARM_MEMORY_LIMIT_BYTES", "TONEARM_SILENCE", "SSL_CERT_DIR", "SSL_CERT_FILE"} {
		if value, ok := os.LookupEnv(name); ok {
			if path, err := filepath.Abs(value); err == nil && strings.HasSuffix(name, "FFMPEG") && strings.Contains(value, "/") {
				value = path
			}
			env = append(env, name+"="+value)
		}
	}
	return env
}
