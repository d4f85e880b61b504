package env

// flags are the flags of all programs: a variable that one program does not
// know may be meant for another one. The tests of the commands check the list
// against their flags.
var flags = []string{
	"admin-listen", "album", "artist", "attempt-key", "attempt-lease", "attempt-url-expiry", "bitrate", "channels",
	"chapters", "comment", "copy", "cover", "data", "date", "dispatcher-url", "end", "event-token", "events-listen",
	"genre", "gpu-wait", "inbox-every", "job-classes", "job-start-timeout", "jobs", "jobs-namespace", "json",
	"kubeconfig", "launcher", "lease", "limit", "listen", "log-level", "loudness", "mail-concurrency", "mail-from",
	"max-attempts", "max-duration", "max-files-per-job", "max-gpu-jobs", "max-inbox-bytes", "max-jobs", "max-launches",
	"max-mp3-bytes", "max-upload", "max-upload-bytes", "message-id-domain", "no-wait", "notify", "open-registration",
	"out", "password-stdin", "preset", "public-url", "queue", "queue-prefix", "record-retention", "records",
	"records-database", "retry-backoff", "retry-for", "s3-access-key", "s3-bucket", "s3-cors-origins", "s3-endpoint", "s3-listen",
	"s3-notify-arn", "s3-path-style", "s3-public-endpoint", "s3-region", "s3-secret-key", "sample-rate", "server",
	"signing-keys", "smtp-host", "smtp-password", "smtp-port", "smtp-timeout", "smtp-tls", "smtp-username",
	"source-retention", "sqs-queue-url", "start", "state", "target", "title", "token-issuer", "token-life", "track",
	"track-number", "transcoder", "transcoder-gpu-image", "transcoder-image", "true-peak", "upload-window",
	"url-expiry", "user", "users", "users-ca", "users-cert", "users-key", "vbr-quality", "work-dir",
}

// others are the variables without a flag.
var others = []string{
	"TONEARM_TOKEN", "TONEARM_FFMPEG", "TONEARM_MEMORY_LIMIT_BYTES", "TONEARM_CONVERSION_ID", "TONEARM_ATTEMPT_TOKEN",
	"TONEARM_LOCK_FD", "TONEARM_LIFELINE", "TONEARM_EMBEDDED_CHILD",
}

// Known reports whether a flag is on the list.
func Known(flag string) bool { return isKnown(Name(flag)) }
