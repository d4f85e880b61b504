package env

import "slices"

// Group is flags that a help prints together, in this order.
type Group struct {
	Heading string
	Flags   []string
}

// Groups are the flags of all programs: a variable that one program does not
// know may be meant for another one. The tests of the commands compare the list
// with their flags. The flags of a conversion's options have no heading here;
// theirs comes from conversion.Fields.
var Groups = []Group{
	{"Flags", []string{
		"server", "user", "password-stdin", "max-upload", "admin", "out", "output-template", "recursive", "skip-existing", "force", "watch", "json", "quiet",
		"no-wait", "wait", "dry-run", "jobs", "retry-for", "send", "notify", "state", "limit",
		"everywhere", "reset", "scope", "expires-days", "unproven", "remove", "lines",
	}},
	{"Server", []string{"data", "listen", "admin-listen", "events-listen", "max-connections-per-address", "public-url", "cors-origins", "open-registration", "self-confirm", "trusted-proxies"}},
	{"Stores", []string{"records", "records-database", "users", "queue", "queue-prefix"}},
	{"TLS with MySQL", []string{"users-ca", "users-cert", "users-key"}},
	{"Object store", []string{
		"s3-endpoint", "s3-public-endpoint", "s3-listen", "s3-bucket", "s3-region", "s3-access-key", "s3-secret-key",
		"s3-path-style", "s3-cors-origins",
	}},
	{"Notifications of the object store", []string{"event-token", "s3-notify-arn", "sqs-queue-url", "inbox-every", "inbox-wait"}},
	{"Tokens", []string{"signing-keys", "download-keys", "token-issuer", "token-life", "attempt-key"}},
	{"Mail", []string{
		"smtp-host", "smtp-port", "smtp-tls", "smtp-username", "smtp-password", "smtp-timeout", "mail-from", "mail-concurrency",
		"message-id-domain",
	}},
	{"Limits", []string{
		"max-open-uploads", "max-queued-conversions", "max-running-attempts", "max-stored-bytes", "max-daily-bytes", "max-daily-sound-seconds",
		"max-waiters", "max-waiters-overall", "max-gateway-uploads", "max-gateway-uploads-overall",
		"max-upload-bytes", "max-inbox-bytes", "max-duration", "max-mp3-bytes", "upload-window", "url-expiry",
		"attempt-url-expiry", "source-retention", "old-sources", "mp3-retention",
		"record-retention",
	}},
	{"Attempts", []string{
		"max-jobs", "max-gpu-jobs", "gpu-wait", "target", "max-files-per-job", "max-attempts", "max-launches", "attempt-lease",
		"retry-backoff", "launcher", "dispatcher-url", "transcoder", "work-dir",
	}},
	{"Kubernetes", []string{
		"kubeconfig", "jobs-namespace", "lease", "job-classes", "transcoder-image", "transcoder-gpu-image", "job-start-timeout",
	}},
	{"Logging", []string{"log-level"}},
	{"", []string{
		"album", "artist", "bitrate", "channels", "chapters", "comment", "copy", "cover", "date", "end", "genre", "loudness",
		"preset", "sample-rate", "start", "title", "track", "track-number", "true-peak", "vbr-quality",
	}},
}

// flags are the names of all of them.
var flags = func() (all []string) {
	for _, g := range Groups {
		all = slices.Concat(all, g.Flags)
	}
	return all
}()

// others are the variables without a flag.
var others = []string{
	"TONEARM_TOKEN", "TONEARM_FFMPEG", "TONEARM_GPU_FFMPEG", "TONEARM_MEMORY_LIMIT_BYTES", "TONEARM_CONVERSION_ID", "TONEARM_ATTEMPT_TOKEN", "TONEARM_ATTEMPT_TOKEN_FD",
	"TONEARM_LAUNCH_ID", "TONEARM_SILENCE", "TONEARM_LOCK_FD", "TONEARM_LIFELINE", "TONEARM_EMBEDDED_CHILD",
}

// Known reports whether a flag is on the list.
func Known(flag string) bool { return isKnown(Name(flag)) }
