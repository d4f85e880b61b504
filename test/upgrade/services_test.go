package upgrade

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// cluster is a site of services on the real servers, behind one address for
// the gateways and one for the dispatchers.
type cluster struct {
	*site
	servers               *world.Servers
	gateways, dispatchers *balancer
	env                   []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	servers := world.RealServers(t)
	c := &cluster{site: newSite(t, servers.S3), servers: servers, gateways: startBalancer(t), dispatchers: startBalancer(t)}
	c.server, c.places = c.gateways.url, 4
	event := world.RandomHex(16)
	servers.Receive(t, c.dispatchers.url+"/events/s3", event)
	c.env = append(servers.Env(c.front.URL),
		"TONEARM_SIGNING_KEYS="+world.SigningKey(t), "TONEARM_PUBLIC_URL="+c.server, "TONEARM_OPEN_REGISTRATION=true", "TONEARM_SELF_CONFIRM=true",
		"TONEARM_DISPATCHER_URL="+c.dispatchers.url, "TONEARM_ATTEMPT_KEY="+world.RandomHex(32), "TONEARM_EVENT_TOKEN="+event,
		"TONEARM_ATTEMPT_LEASE=10s", "TONEARM_RETRY_BACKOFF=200ms", "TONEARM_MAX_JOBS=2", "TONEARM_TARGET=0",
		"TONEARM_SMTP_HOST="+c.sink.Host, "TONEARM_SMTP_PORT="+c.sink.Port, "TONEARM_SMTP_TLS=none")
	c.records = openMongo(t, servers)
	bucket, err := s3blob.New(s3blob.Options{Endpoint: servers.S3, Region: "us-east-1", Bucket: servers.Name, AccessKey: "tonearm", SecretKey: "tonearm-secret"})
	if err != nil {
		t.Fatal(err)
	}
	c.objects = func() (n int) {
		if err := bucket.List(t.Context(), conversion.MP3Prefix, "", func(blob.Object) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	return c
}

// replicas are the services of one version, two of each.
type replicas struct {
	running
	gateways, dispatchers []string         // addresses
	logs                  []*world.Program // of the dispatchers
}

// start runs two of each service and waits until they are ready. They get no
// requests yet.
func (c *cluster) start(bin commands) *replicas {
	c.t.Helper()
	r := &replicas{running: running{gate: newGate(c.t)}}
	var admins []string
	run := func(name string, env ...string) *world.Program {
		admins = append(admins, world.FreeAddr(c.t))
		env = append(append(env, c.env...), "TONEARM_ADMIN_LISTEN="+admins[len(admins)-1], "TONEARM_FFMPEG="+r.gate.ffmpeg)
		p := world.Start(c.t, env, bin.path(name))
		r.programs = append(r.programs, p)
		return p
	}
	for range 2 {
		gateway, dispatcher := world.FreeAddr(c.t), world.FreeAddr(c.t)
		r.gateways, r.dispatchers = append(r.gateways, gateway), append(r.dispatchers, dispatcher)
		run("gateway", "TONEARM_LISTEN="+gateway)
		r.logs = append(r.logs, run("dispatcher", "TONEARM_LISTEN="+dispatcher, "TONEARM_WORK_DIR="+c.t.TempDir()))
		run("notifier")
	}
	for i, addr := range admins {
		waittest.Until(c.t, time.Minute, "the services are ready", func() bool {
			if r.programs[i].Ended() {
				c.t.Fatalf("a service ended: %v", r.programs[i].Err)
			}
			resp, err := http.Get("http://" + addr + "/readyz")
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	return r
}

// route sends all requests to these replicas, in turn.
func (c *cluster) route(all ...*replicas) {
	var gateways, dispatchers []string
	for _, r := range all {
		gateways, dispatchers = append(gateways, r.gateways...), append(dispatchers, r.dispatchers...)
	}
	c.gateways.use(gateways...)
	c.dispatchers.use(dispatchers...)
}

// launched is how many attempts the dispatchers have launched.
func (r *replicas) launched() (n int) {
	for _, p := range r.logs {
		n += strings.Count(p.Out.String(), `"attempt launched"`)
	}
	return n
}

// beside sends files while two versions run side by side. They go through the
// gateways of both versions until the dispatchers of both have launched some,
// and through the command line of each version to the gateway of the other.
func (c *cluster) beside(a, b *replicas, binA, binB commands) {
	c.t.Helper()
	for i, p := range []struct {
		cli     commands
		gateway string
	}{{binA, b.gateways[0]}, {binB, a.gateways[0]}} {
		own := []string{fmt.Sprintf("XDG_STATE_HOME=%s-%d", c.source("other"), i), "TONEARM_TOKEN=" + c.user.Token}
		c.convert("command line of the other version", p.cli, own, "--server", "http://"+p.gateway, "--notify", "none")
	}
	user := c.user
	for _, r := range []*replicas{a, b} {
		there := *user
		there.Server = "http://" + r.gateways[0]
		c.user = &there
		c.upload("beside", "talk.mp4", noMail)
	}
	c.user = user
	before := []int{a.launched(), b.launched()}
	for range 20 {
		if a.launched() > before[0] && b.launched() > before[1] {
			return
		}
		f := c.upload("beside", "talk.mp4", api.NewConversion{})
		c.user.Final(f.conv.ID, limit)
	}
	c.t.Errorf("of 20 files side by side the versions launched %d and %d", a.launched()-before[0], b.launched()-before[1])
}

// idle waits until Redis holds no message.
func (c *cluster) idle() {
	c.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: c.servers.Redis})
	defer client.Close()
	waittest.Until(c.t, limit, "no message is left in Redis", func() bool {
		keys, err := client.Keys(c.t.Context(), c.servers.Name+":*:messages").Result()
		if err != nil {
			c.t.Fatal(err)
		}
		return len(keys) == 0
	})
}

// TestServices upgrades services and then downgrades them. Both versions run
// side by side meanwhile.
func TestServices(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	c := newCluster(t)
	old := c.start(bin.before)
	c.route(old)
	c.join(bin.before)
	c.settle(bin.before)
	left := c.leave(bin.before, old.gate, world.Refuse, 2)

	fresh := c.start(bin.after)
	c.route(old, fresh)
	c.beside(old, fresh, bin.before, bin.after)
	c.route(fresh)
	old.end((*world.Program).Stop)
	c.finish(bin.after, left)
	c.idle()

	c.settle(bin.after)
	left = c.leave(bin.after, fresh.gate, world.Refuse, 2)
	old = c.start(bin.before)
	c.route(fresh, old)
	c.beside(fresh, old, bin.after, bin.before)
	c.route(old)
	fresh.end((*world.Program).Kill)
	c.finish(bin.before, left)
	c.idle()
	c.report()
}
