package transcoder

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"tonearm/internal/source"
)

// Options is all that an attempt knows when it starts.
type Options struct {
	DispatcherURL string // base address of the dispatcher, such as http://127.0.0.1:9000
	ConversionID  string
	Token         string // of this attempt
	LaunchID      string // of the launch that this process is; '' where launches are not told apart
	// Dir is a working directory for this attempt alone. It is made if need be,
	// with mode 0700, and emptied at the start and at the end.
	Dir string

	FFmpeg      string        // path or name; if empty, see ffmpeg.Program.Find
	GPUFFmpeg   string        // one that decodes pictures on a GPU; default FFmpeg
	MemoryLimit int64         // bytes of memory for ffmpeg; default 1 GiB
	ReportEvery time.Duration // longest pause between reports; 0 means as the dispatcher says
	Patience    time.Duration // how long the object store may move no byte; default source.DefaultPatience
	Silence     time.Duration // an attempt that moves nothing for this long has hung, and is ended; default DefaultSilence
	ExtraFiles  []*os.File    // ffmpeg inherits them, so that a launcher can tell whether it lives

	HTTP *http.Client // for the dispatcher and the object store; nil means a default client
	Log  *slog.Logger // required
}

// DefaultSilence is how long an attempt may move nothing if nothing else is said.
const DefaultSilence = time.Minute

func (o Options) withDefaults() Options {
	o.Silence = cmp.Or(o.Silence, DefaultSilence)
	o.Patience = cmp.Or(o.Patience, source.DefaultPatience)
	o.HTTP = cmp.Or(o.HTTP, source.NewClient(source.DefaultConnections))
	return o
}

func (o Options) validate() error {
	switch u, err := url.Parse(o.DispatcherURL); {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("the dispatcher's address must be an http or https URL")
	case o.ConversionID == "":
		return errors.New("the conversion ID is missing")
	case o.Token == "":
		return errors.New("the attempt token is missing")
	case o.Dir == "" || filepath.Clean(o.Dir) == string(filepath.Separator):
		return errors.New("a working directory other than / is required")
	case o.MemoryLimit < 0:
		return errors.New("the memory limit must not be negative")
	case o.ReportEvery < 0 || o.Patience < 0 || o.Silence < 0:
		return errors.New("report interval, patience and silence must not be negative")
	}
	return nil
}
