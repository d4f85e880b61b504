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

// TestAccounts upgrades services in the order that the documents give: gateways
// first, with the key for links, then the others, which get that key alone.
// Accounts, tokens, links and owed mails of the version before go on, and the
// version before goes on with what the new one made.
func TestAccounts(t *testing.T) {
	bin := versions(t)
	t.Parallel()
	c := newCluster(t)
	c.env = append(c.env, "TONEARM_SELF_CONFIRM=false", "TONEARM_FFMPEG="+newGate(t).ffmpeg)
	dispatcher := func(bin commands) *world.Program {
		addr := world.FreeAddr(t)
		p := c.one(bin, "dispatcher", "TONEARM_LISTEN="+addr, "TONEARM_WORK_DIR="+t.TempDir())
		c.dispatchers.use(addr)
		return p
	}
	oldGateway, before := c.gateway(bin.before)
	c.gateways.use(before)
	oldDispatcher, oldNotifier := dispatcher(bin.before), c.one(bin.before, "notifier")
	c.join(bin.before)
	first := c.upload("done, mailed", "talk.mp4", api.NewConversion{})
	c.end(first)
	c.mailed()
	oldLink := c.letters()[0].Link()
	c.sink.Become(world.Refuse)
	owed := c.upload("mail owed", "talk.mp4", api.NewConversion{})
	c.refused(owed)

	// Gateways first.
	links := "TONEARM_DOWNLOAD_KEYS=" + world.SigningKey(t)
	newGateway, after := c.gateway(bin.after, links)
	c.gateways.use(before, after)
	answers(at(c.user, after), "/v1/conversions", http.StatusOK)
	if m := me(at(c.user, after)); !m.Confirmed || m.Email != c.user.Email {
		t.Errorf("an account of the version before is %+v", m)
	}
	renewed := at(c.user, after)
	renewed.Login()
	answers(at(c.user, before, renewed.Token), "/v1/conversions", http.StatusOK)
	if got := c.status(oldLink, after); got != http.StatusFound {
		t.Errorf("a link of the version before: %d", got)
	}
	between := world.NewUser(t, "http://"+before, "between@example.org")
	if m := me(at(between, after)); m.Confirmed {
		t.Errorf("an account that the version before made meanwhile is %+v", m)
	}
	late := &world.User{T: t, Server: "http://" + after, Email: "late@example.org"}
	if status, body := late.Do("POST", "/v1/users", api.NewUser{Email: late.Email, Password: world.Password}, nil); status != http.StatusAccepted {
		t.Fatalf("register: %d %s", status, body)
	}
	late.Login()
	answers(at(late, before), "/v1/conversions", http.StatusOK)
	var key api.MadeKey
	if status, body := at(c.user, after).Do("POST", "/v1/keys", api.NewKey{Name: "cron", Scopes: []account.Scope{account.ScopeRead}}, &key); status != http.StatusCreated {
		t.Fatalf("key: %d %s", status, body)
	}
	answers(at(c.user, after, key.Secret), "/v1/conversions", http.StatusOK)
	answers(at(c.user, before, key.Secret), "/v1/conversions", http.StatusUnauthorized)

	// Then the others. The notifiers have no key that opens an account.
	c.gateways.use(after)
	oldGateway.Stop()
	oldNotifier.Kill()
	oldDispatcher.Stop()
	dispatcher(bin.after)
	notifier := c.one(bin.after, "notifier", links, "TONEARM_SIGNING_KEYS=")
	c.sink.Become(world.Accept)
	c.end(owed)
	c.mailed()
	c.check()
	var proof string
	waittest.Until(t, limit, "the mail that proves an address", func() bool {
		for _, l := range c.accountLetters() {
			if found := confirmation.FindStringSubmatch(l.Text); found != nil && strings.Contains(l.To, late.Email) {
				proof = found[1]
			}
		}
		return proof != ""
	})
	if status, body := late.Do("POST", "/v1/users/confirm", api.Link{Token: proof}, nil); status != http.StatusOK || !me(late).Confirmed {
		t.Errorf("confirm: %d %s", status, body)
	}
	var newLink string
	for _, l := range c.letters() {
		if strings.Contains(l.Text, owed.conv.MP3.ID) {
			newLink = l.Link()
		}
	}

	// And back. Links of the key for links fail there, as the documents say.
	notifier.Stop()
	newGateway.Stop()
	oldGateway, before = c.gateway(bin.before)
	c.one(bin.before, "notifier")
	c.gateways.use(before)
	for _, u := range []*world.User{c.user, between, late} {
		back := at(u, before)
		answers(back, "/v1/conversions", http.StatusOK)
		back.Login()
	}
	if got := c.status(oldLink, before); got != http.StatusFound {
		t.Errorf("the old link at the old gateway: %d", got)
	}
	if got := c.status(newLink, before); got != http.StatusForbidden {
		t.Errorf("the new link at the old gateway: %d", got)
	}
	third := c.upload("after the way back", "talk.mp4", api.NewConversion{})
	c.end(third)
	c.mailed()

	oldGateway.Stop()
	_, after = c.gateway(bin.after, links)
	c.gateways.use(after)
	answers(at(c.user, after, key.Secret), "/v1/conversions", http.StatusOK)
	if !me(at(late, after)).Confirmed {
		t.Error("a proof is lost")
	}
	c.check()
	c.idle()
	c.report()
}
