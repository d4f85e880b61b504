package upgrade

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// machine is a site on one machine: the data directory of `tonearm up`.
type machine struct {
	*site
	data        string
	flags, smtp []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	listen, store := world.FreeAddr(t), world.FreeAddr(t)
	m := &machine{site: newSite(t, "http://"+store), data: t.TempDir()}
	m.server, m.places = "http://"+listen, 2
	m.flags = []string{
		"up", "--data", m.data, "--listen", listen, "--s3-listen", store, "--s3-public-endpoint", m.front.URL,
		"--max-jobs", "2", "--attempt-lease", "3s", "--retry-backoff", "200ms",
	}
	m.smtp = []string{"--smtp-host", m.sink.Host, "--smtp-port", m.sink.Port, "--smtp-tls", "none", "--smtp-timeout", "15s"}
	m.records = openSQLite(t, m.data)
	m.objects = func() int {
		found, _ := filepath.Glob(filepath.Join(m.data, "s3", "data", "tonearm", "mp3s", "*", "*", "*.mp3"))
		return len(found)
	}
	m.outbox = func() []world.Letter { return world.Outbox(t, m.data) }
	return m
}

// start runs `tonearm up` and waits until it serves.
func (m *machine) start(bin commands, flags ...string) running {
	m.t.Helper()
	g := newGate(m.t)
	p := world.Start(m.t, []string{"TONEARM_FFMPEG=" + g.ffmpeg}, bin.path("tonearm"), append(m.flags, flags...)...)
	anybody := world.User{T: m.t, Server: m.server}
	waittest.Until(m.t, time.Minute, "tonearm up serves", func() bool {
		if p.Ended() {
			m.t.Fatalf("tonearm up ended: %v", p.Err)
		}
		status, _ := anybody.Do("GET", "/openapi.json", nil, nil)
		return status == http.StatusOK
	})
	return running{g, []*world.Program{p}}
}

// TestUp upgrades a data directory and then downgrades it. The previous program
// is asked to end, or killed.
func TestUp(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	for _, how := range []struct {
		name string
		end  func(*world.Program)
		away world.Mood // of the mail server at that time
	}{
		{"ended", (*world.Program).Stop, world.Refuse},
		{"killed", (*world.Program).Kill, world.Hang},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			r := m.start(bin.before) // mails are files
			m.join(bin.before)
			m.settle(bin.before)
			r.end((*world.Program).Stop)
			r = m.start(bin.before, m.smtp...)

			left := m.leave(bin.before, r.gate, how.away, m.places)
			r.end(how.end)
			r = m.start(bin.after, m.smtp...)
			if info, err := os.Stat(filepath.Join(m.data, "inbox.env")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the data directory has no private key for the inbox: %v, %v", info, err)
			}
			m.finish(bin.after, left)

			m.settle(bin.after)
			left = m.leave(bin.after, r.gate, how.away, m.places)
			r.end(how.end)
			m.start(bin.before, m.smtp...)
			m.finish(bin.before, left)
			m.report()
		})
	}
}
