package upgrade

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// one starts one service and waits until it is ready.
func (c *cluster) one(bin commands, name string, env ...string) *world.Program {
	c.t.Helper()
	admin := world.FreeAddr(c.t)
	p := world.Start(c.t, append(append([]string{}, c.env...), append(env, "TONEARM_ADMIN_LISTEN="+admin)...), bin.path(name))
	waittest.Until(c.t, time.Minute, name+" is ready", func() bool {
		if p.Ended() {
			c.t.Fatalf("%s ended: %v", name, p.Err)
		}
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// gateway starts a gateway and returns its address.
func (c *cluster) gateway(bin commands, env ...string) (*world.Program, string) {
	c.t.Helper()
	addr := world.FreeAddr(c.t)
	return c.one(bin, "gateway", append(env, "TONEARM_LISTEN="+addr)...), addr
}

// at is the user at one gateway, with another token where one is given.
func at(u *world.User, addr string, token ...string) *world.User {
	there := *u
	there.Server = "http://" + addr
	if len(token) > 0 {
		there.Token = token[0]
	}
	return &there
}

// answers checks the status of a request without a body.
func answers(u *world.User, path string, want int) {
	u.T.Helper()
	if status, body := u.Do("GET", path, nil, nil); status != want {
		u.T.Errorf("%s at %s: %d %s, want %d", path, u.Server, status, body, want)
	}
}

func me(u *world.User) (me api.Me) {
	u.T.Helper()
	if status, body := u.Do("GET", "/v1/me", nil, &me); status != http.StatusOK {
		u.T.Fatalf("me: %d %s", status, body)
	}
	return me
}

// status is what a link brings at one gateway.
func (c *cluster) status(link, addr string) int {
	c.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(request(c.t, strings.Replace(link, c.gateways.url, "http://"+addr, 1)))
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var confirmation = regexp.MustCompile(`/account/confirm\?lang=en&token=([^\s&]+)`)

// accounts is an upgrade of services in the order that the documents give.
type accounts struct {
	*cluster
	bin           both
	links         string // the key for links, for the environment
	before, after string // addresses of gateways
	old           []*world.Program
	fresh         []*world.Program // gateways of the new version
	notifier      *world.Program

	first, owed   *file
	oldLink       string // by the version before
	between, late *world.User
	key           api.MadeKey
}

// TestAccounts upgrades services in the order that the documents give: gateways
// first, with the key for links, then the others, which get that key alone.
// Accounts, tokens, links and owed mails of the version before go on, and the
// version before goes on with what the new one made.
func TestAccounts(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	a := &accounts{cluster: newCluster(t), bin: bin, links: "TONEARM_DOWNLOAD_KEYS=" + world.SigningKey(t)}
	a.env = append(a.env, "TONEARM_SELF_CONFIRM=false", "TONEARM_FFMPEG="+newGate(t).ffmpeg)
	a.versionBefore()
	a.gatewaysFirst()
	a.thenTheOthers()
	a.andBack()
	a.check()
	a.idle()
	a.report()
}

func (a *accounts) dispatcher(bin commands) *world.Program {
	a.t.Helper()
	addr := world.FreeAddr(a.t)
	p := a.one(bin, "dispatcher", "TONEARM_LISTEN="+addr, "TONEARM_WORK_DIR="+a.t.TempDir())
	a.dispatchers.use(addr)
	return p
}

// versionBefore leaves an account, a link, and a mail that is owed.
func (a *accounts) versionBefore() {
	gateway, addr := a.gateway(a.bin.before)
	a.before = addr
	a.gateways.use(addr)
	a.old = []*world.Program{gateway, a.dispatcher(a.bin.before), a.one(a.bin.before, "notifier")}
	a.join(a.bin.before)
	a.first = a.upload("done, mailed", "talk.mp4", api.NewConversion{})
	a.end(a.first)
	a.mailed()
	a.oldLink = a.letters()[0].Link()
	a.sink.Become(world.Refuse)
	a.owed = a.upload("mail owed", "talk.mp4", api.NewConversion{})
	a.refused(a.owed)
}

func (a *accounts) gatewaysFirst() {
	t := a.t
	gateway, addr := a.gateway(a.bin.after, a.links)
	a.fresh, a.after = append(a.fresh, gateway), addr
	a.gateways.use(a.before, a.after)
	answers(at(a.user, a.after), "/v1/conversions", http.StatusOK)
	if m := me(at(a.user, a.after)); !m.Confirmed || m.Email != a.user.Email {
		t.Errorf("an account of the version before is %+v", m)
	}
	renewed := at(a.user, a.after)
	renewed.Login()
	answers(at(a.user, a.before, renewed.Token), "/v1/conversions", http.StatusOK)
	if got := a.status(a.oldLink, a.after); got != http.StatusFound {
		t.Errorf("a link of the version before: %d", got)
	}
	a.between = world.NewUser(t, "http://"+a.before, "between@example.org")
	if m := me(at(a.between, a.after)); m.Confirmed {
		t.Errorf("an account that the version before made meanwhile is %+v", m)
	}
	a.late = &world.User{T: t, Server: "http://" + a.after, Email: "late@example.org"}
	if status, body := a.late.Do("POST", "/v1/users", api.NewUser{Email: a.late.Email, Password: world.Password}, nil); status != http.StatusAccepted {
		t.Fatalf("register: %d %s", status, body)
	}
	a.late.Login()
	answers(at(a.late, a.before), "/v1/conversions", http.StatusOK)
	if status, body := at(a.user, a.after).Do("POST", "/v1/keys", api.NewKey{Password: world.Password, Name: "cron", Scopes: []account.Scope{account.ScopeRead}}, &a.key); status != http.StatusCreated {
		t.Fatalf("key: %d %s", status, body)
	}
	answers(at(a.user, a.after, a.key.Secret), "/v1/conversions", http.StatusOK)
	answers(at(a.user, a.before, a.key.Secret), "/v1/conversions", http.StatusUnauthorized)
}

// thenTheOthers: the notifiers have no key that opens an account.
func (a *accounts) thenTheOthers() {
	a.gateways.use(a.after)
	for _, p := range a.old {
		p.Stop()
	}
	a.dispatcher(a.bin.after)
	a.notifier = a.one(a.bin.after, "notifier", a.links, "TONEARM_SIGNING_KEYS=")
	a.sink.Become(world.Accept)
	a.end(a.owed)
	a.mailed()
	a.check()
	var proof string
	waittest.Until(a.t, limit, "the mail that proves an address", func() bool {
		for _, l := range a.accountLetters() {
			if found := confirmation.FindStringSubmatch(l.Text); found != nil && strings.Contains(l.To, a.late.Email) {
				proof = found[1]
			}
		}
		return proof != ""
	})
	if status, body := a.late.Do("POST", "/v1/users/confirm", api.Link{Token: proof}, nil); status != http.StatusOK || !me(a.late).Confirmed {
		a.t.Errorf("confirm: %d %s", status, body)
	}
}

// andBack: links of the key for links fail at the version before, as the
// documents say.
func (a *accounts) andBack() {
	t := a.t
	var newLink string
	for _, l := range a.letters() {
		if strings.Contains(l.Text, a.owed.conv.MP3.ID) {
			newLink = l.Link()
		}
	}
	a.notifier.Stop()
	for _, p := range a.fresh {
		p.Stop()
	}
	gateway, before := a.gateway(a.bin.before)
	a.one(a.bin.before, "notifier")
	a.gateways.use(before)
	for _, u := range []*world.User{a.user, a.between, a.late} {
		back := at(u, before)
		answers(back, "/v1/conversions", http.StatusOK)
		back.Login()
	}
	if got := a.status(a.oldLink, before); got != http.StatusFound {
		t.Errorf("the old link at the old gateway: %d", got)
	}
	if got := a.status(newLink, before); got != http.StatusForbidden {
		t.Errorf("the new link at the old gateway: %d", got)
	}
	a.end(a.upload("after the way back", "talk.mp4", api.NewConversion{}))
	a.mailed()

	gateway.Stop()
	_, after := a.gateway(a.bin.after, a.links)
	a.gateways.use(after)
	answers(at(a.user, after, a.key.Secret), "/v1/conversions", http.StatusOK)
	if !me(at(a.late, after)).Confirmed {
		t.Error("a proof is lost")
	}
}

// TestAccountsInTheWrongOrder upgrades the gateways last. Nothing is lost:
// conversions go on, and their mails are sent. But the links in these mails, which
// the key for links signed, work only once the gateways have that key, too.
func TestAccountsInTheWrongOrder(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	a := &accounts{cluster: newCluster(t), bin: bin, links: "TONEARM_DOWNLOAD_KEYS=" + world.SigningKey(t)}
	a.env = append(a.env, "TONEARM_SELF_CONFIRM=false", "TONEARM_FFMPEG="+newGate(t).ffmpeg)
	gateway, before := a.gateway(a.bin.before)
	a.gateways.use(before)
	dispatcher := a.dispatcher(a.bin.before)
	a.join(a.bin.before)

	a.one(a.bin.after, "notifier", a.links, "TONEARM_SIGNING_KEYS=") // no database has account mails yet
	a.end(a.upload("mailed by the new notifier", "talk.mp4", api.NewConversion{}))
	a.mailed()
	link := a.letters()[0].Link()
	if got := a.status(link, before); got != http.StatusForbidden {
		t.Errorf("a link of the new notifier at the old gateway: %d", got)
	}
	dispatcher.Stop()
	a.dispatcher(a.bin.after)
	a.between = world.NewUser(t, "http://"+before, "between@example.org")
	a.end(a.upload("converted by the new dispatcher", "talk.mp4", api.NewConversion{}))
	a.mailed()

	gateway.Stop()
	_, a.after = a.gateway(a.bin.after, a.links)
	a.gateways.use(a.after)
	if got := a.status(link, a.after); got != http.StatusFound {
		t.Errorf("the same link at the new gateway: %d", got)
	}
	for u, want := range map[*world.User]bool{a.user: true, a.between: false} {
		if m := me(at(u, a.after)); m.Confirmed != want {
			t.Errorf("an account of the old gateway is %+v, want confirmed %t", m, want)
		}
	}
	a.mailed()
	a.check()
	a.idle()
	a.report()
}
