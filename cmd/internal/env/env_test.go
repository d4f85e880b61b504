package env

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// program returns the flags of a small one.
func program() *pflag.FlagSet {
	f := pflag.NewFlagSet("program", pflag.ContinueOnError)
	f.String("s3-bucket", "tonearm", "")
	f.Int("max-jobs", 4, "")
	f.Duration("target", 0, "")
	f.Bool("path-style", false, "")
	f.TextVar(new(slog.Level), "log-level", slog.LevelInfo, "")
	f.Bool("help", false, "")
	f.Bool("version", false, "")
	return f
}

func TestSet(t *testing.T) {
	renamed := map[string]string{"bucket": "s3-bucket", "jobs-at-once": "max-jobs", "smtp": "smtp-host"}
	for name, tt := range map[string]struct {
		args              []string
		env               map[string]string
		bucket, jobs, err string
	}{
		"nothing":                     {bucket: "tonearm", jobs: "4"},
		"variables":                   {env: map[string]string{"TONEARM_S3_BUCKET": "b", "TONEARM_MAX_JOBS": "2"}, bucket: "b", jobs: "2"},
		"the command line goes first": {args: []string{"--max-jobs", "3"}, env: map[string]string{"TONEARM_MAX_JOBS": "2"}, bucket: "tonearm", jobs: "3"},
		"an empty variable":           {env: map[string]string{"TONEARM_S3_BUCKET": ""}, jobs: "4"},
		"a bad value": {env: map[string]string{"TONEARM_MAX_JOBS": "many"}, bucket: "tonearm", jobs: "0",
			err: `TONEARM_MAX_JOBS: it takes a whole number, not "many"`},
		"help and version are no variables": {env: map[string]string{"TONEARM_HELP": "me", "TONEARM_VERSION": "1.2"}, bucket: "tonearm", jobs: "4"},
		"renamed": {env: map[string]string{"TONEARM_JOBS_AT_ONCE": "2", "TONEARM_BUCKET": "b"}, bucket: "tonearm", jobs: "4",
			err: "--bucket was renamed to --s3-bucket (TONEARM_S3_BUCKET)\n--jobs-at-once was renamed to --max-jobs (TONEARM_MAX_JOBS)"},
		"renamed, of another program": {env: map[string]string{"TONEARM_SMTP": "host"}, bucket: "tonearm", jobs: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			f := program()
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := set(f, renamed); err != nil {
				got = err.Error()
			}
			if got != tt.err {
				t.Errorf("error %q, want %q", got, tt.err)
			}
			if bucket, jobs := f.Lookup("s3-bucket").Value.String(), f.Lookup("max-jobs").Value.String(); bucket != tt.bucket || jobs != tt.jobs {
				t.Errorf("got %q and %s, want %q and %s", bucket, jobs, tt.bucket, tt.jobs)
			}
		})
	}
}

func TestFlagError(t *testing.T) {
	renamed := map[string]string{"bucket": "s3-bucket", "smtp": "smtp-host"}
	for arg, want := range map[string]string{
		"--bucket":   "--bucket was renamed to --s3-bucket (TONEARM_S3_BUCKET)",
		"--bucket=b": "--bucket was renamed to --s3-bucket (TONEARM_S3_BUCKET)",
		"--smtp":     "unknown flag: --smtp",
		"--bukket":   "unknown flag: --bukket",
		"--max-jobs": "flag needs an argument: --max-jobs",

		"--max-jobs=1.5":    `--max-jobs: it takes a whole number, not "1.5"`,
		"--target=soon":     `--target: it takes a duration such as 30s, 10m or 24h, not "soon"`,
		"--path-style=0.5":  `--path-style: it takes true or false, not "0.5"`,
		"--log-level=aloud": `--log-level: it takes debug, info, warn or error, not "aloud"`,
	} {
		f := program()
		if err := flagError(f, f.Parse([]string{arg}), renamed); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", arg, err, want)
		}
	}
	if err := errors.New("else"); flagError(program(), err, renamed) != err { //nolint:errorlint // the same error
		t.Error("another error is changed")
	}
}

func TestUnknown(t *testing.T) {
	for name, tt := range map[string]struct {
		environ, want []string
	}{
		"none of Tonearm's": {environ: []string{"PATH=/bin", "HOME=/", "S3_BUCKET=b", "XTONEARM_S3=1"}},
		"flags":             {environ: []string{"TONEARM_S3_BUCKET=b", "TONEARM_SMTP_HOST=h", "TONEARM_SMTP_PORT=25", "TONEARM_VBR_QUALITY=2"}},
		"no flags":          {environ: []string{"TONEARM_TOKEN=t", "TONEARM_FFMPEG=f", "TONEARM_LOCK_FD=3", "TONEARM_LIFELINE=1"}},
		"tests":             {environ: []string{"TONEARM_TEST_ANYTHING=1", "TONEARM_CACHE=/c", "TONEARM_NODE=/n"}},
		"Kubernetes services": {environ: []string{
			"TONEARM_GATEWAY_SERVICE_HOST=10.0.0.1", "TONEARM_GATEWAY_SERVICE_PORT=80", "TONEARM_GATEWAY_SERVICE_PORT_HTTP=80",
			"TONEARM_GATEWAY_PORT=tcp://10.0.0.1:80", "TONEARM_GATEWAY_PORT_80_TCP=tcp://10.0.0.1:80",
			"TONEARM_GATEWAY_PORT_80_TCP_PROTO=tcp", "TONEARM_GATEWAY_PORT_80_TCP_PORT=80", "TONEARM_GATEWAY_PORT_80_TCP_ADDR=10.0.0.1",
		}},
		"no service's port": {environ: []string{"TONEARM_GATEWAY_PORT=80"}, want: []string{"TONEARM_GATEWAY_PORT"}},
		"close": {environ: []string{"TONEARM_S3_BUKET=b", "TONEARM_SMTP_HOTS=h", "TONEARM_MAX_JOB=2"},
			want: []string{"TONEARM_MAX_JOB (is it TONEARM_MAX_JOBS?)", "TONEARM_S3_BUKET (is it TONEARM_S3_BUCKET?)", "TONEARM_SMTP_HOTS (is it TONEARM_SMTP_HOST?)"}},
		"far":        {environ: []string{"TONEARM_SOMETHING_ELSE=1", "TONEARM_="}, want: []string{"TONEARM_", "TONEARM_SOMETHING_ELSE"}},
		"lower case": {environ: []string{"TONEARM_s3_bucket=b"}, want: []string{"TONEARM_s3_bucket"}},
		"no value":   {environ: []string{"TONEARM_S3_BUKET"}, want: []string{"TONEARM_S3_BUKET (is it TONEARM_S3_BUCKET?)"}},
	} {
		if got := Unknown(tt.environ); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestRenamedFlagsAreGone(t *testing.T) {
	for old, now := range renamed {
		if Known(old) || !Known(now) {
			t.Errorf("--%s and --%s: the old one is to be gone, the new one to be there", old, now)
		}
	}
}
