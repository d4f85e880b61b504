package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

func TestKeys(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	made := decode[api.MadeKey](u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "cron", Scopes: []account.Scope{"convert"}}).want(201))
	if life := time.Until(*made.ExpiresAt); life < 364*24*time.Hour || life > 366*24*time.Hour {
		t.Errorf("it expires in %v", life)
	}
	s.mail(u.Email, account.MailKeyMade)
	key := u.with(made.Secret)
	key.announce(3, false)
	if me := decode[api.Me](key.call("GET", "/v1/me", nil).want(200)); me.Key == nil || me.Key.ID != made.ID || me.ID != u.ID {
		t.Errorf("me is %+v", me)
	}
	list := u.call("GET", "/v1/keys", nil).want(200)
	if strings.Contains(string(list.body), made.Secret[10:]) {
		t.Error("the list shows the secret")
	}
	if k := decode[api.Keys](list).Keys; len(k) != 1 || k[0].Name != "cron" || k[0].LastUsedAt == nil {
		t.Errorf("keys are %s", list.body)
	}
	u.call("DELETE", "/v1/keys/"+made.ID, nil).want(204)
	key.call("GET", "/v1/conversions", nil).want(401, "invalid_token")
	u.call("DELETE", "/v1/keys/"+made.ID, nil).want(404, "not_found")

	forever := decode[api.MadeKey](u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "forever", Scopes: []account.Scope{"read"}, ExpiresInDays: -1}).want(201))
	if forever.ExpiresAt != nil {
		t.Errorf("it expires at %v", forever.ExpiresAt)
	}
	u.call("POST", "/v1/keys", `{"password":"`+password+`","name":"x","scopes":["all"]}`).want(422, "invalid_request")
	u.call("POST", "/v1/keys", `{"password":"`+password+`","name":"x","scopes":[]}`).want(422, "invalid_request")
	u.call("POST", "/v1/keys", `{"password":"`+password+`","name":"a\nb","scopes":["read"]}`).want(422, "invalid_request")
	u.call("POST", "/v1/keys", `{"password":"`+password+`","name":"a\u202eb","scopes":["read"]}`).want(422, "invalid_request")
}

// A key is good for its scopes on every route, wherever a token is accepted, and
// for nothing that is the account's.
func TestScopes(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	check(t, s.o.Users.SetAdmin(t.Context(), u.ID, true))
	c := s.advance(u.announce(3, false).ID, "done")
	for _, scope := range account.Scopes {
		_, secret := u.key(scope)
		for _, route := range s.described() {
			method, path, _ := strings.Cut(route, " ")
			r := u.with(secret).call(method, fill(path, c), nil)
			code := ""
			if r.status == http.StatusForbidden {
				code = decode[api.Problem](r).Code
			}
			want := ""
			switch rules[route] {
			case inSession, byKey:
				want = "session_required"
			case operators:
				if scope != account.ScopeAdmin {
					want = "scope_missing"
				}
			case loggedIn, byConversion, byMP3:
				if scope == account.ScopeAdmin || scope == account.ScopeRead && method != "GET" {
					want = "scope_missing"
				}
			case everybody:
				continue
			}
			if code != want || r.status == http.StatusUnauthorized {
				t.Errorf("%s with scope %s: %d %q, want %q", route, scope, r.status, code, want)
			}
		}
	}
	if keys, err := s.o.Users.KeysOf(t.Context(), u.ID); err != nil || len(keys) != len(account.Scopes) {
		t.Errorf("keys made keys: %+v, %v", keys, err)
	}
}

// A key never has more rights than its owner has now.
func TestAdminKey(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "x", Scopes: []account.Scope{"admin"}}).want(403, "admin_required")
	u.call("GET", "/v1/admin/audit", nil).want(403, "admin_required")
	check(t, s.o.Users.SetAdmin(t.Context(), u.ID, true))
	made := decode[api.MadeKey](u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "x", Scopes: []account.Scope{"admin"}}).want(201))
	key := u.with(made.Secret)
	events := key.call("GET", "/v1/admin/audit", nil).want(200)
	var actions []string
	for _, e := range decode[api.Events](events).Events {
		actions = append(actions, string(e.Action)+" "+e.Outcome)
	}
	equal(t, "events", strings.Join(actions, ", "), "make_key ok, refused admin_required, make_key admin_required")
	for _, secret := range []string{made.Secret, u.token, password, u.Email} {
		if strings.Contains(string(events.body), secret) {
			t.Errorf("the audit log holds a secret or an address: %s", events.body)
		}
	}
	check(t, s.o.Users.SetAdmin(t.Context(), u.ID, false))
	key.call("GET", "/v1/admin/audit", nil).want(403, "admin_required")
}

// The audit log tells who deleted a conversion, made and revoked a key, and was
// refused, but not so often that whoever is refused can fill it.
func TestAudited(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	told := func() map[string]int {
		t.Helper()
		events, err := s.o.Users.Events(t.Context(), "", 1000)
		check(t, err)
		got := map[string]int{}
		for _, e := range events {
			if strings.Contains(fmt.Sprint(e), "@") || e.Network == "" || e.At.IsZero() {
				t.Errorf("a line is %+v", e)
			}
			got[string(e.Action)+" "+e.Outcome+" "+e.UserID+" "+e.KeyID+" "+e.Subject]++
		}
		return got
	}
	c := u.announce(3, false)
	k, secret := u.key(account.ScopeConvert)
	reader, readSecret := u.key(account.ScopeRead)
	u.with(secret).call("DELETE", "/v1/conversions/"+c.ID, nil).want(204)
	u.with(secret).call("DELETE", "/v1/conversions/"+c.ID, nil).want(404)
	u.with(readSecret).call("DELETE", "/v1/conversions/"+c.ID, nil).want(403, "scope_missing")
	u.call("DELETE", "/v1/keys/"+k.ID, nil).want(204)
	for range 2 {
		s.send("POST", "/v1/session", api.Credentials{Email: u.Email, Password: "wrong horse"}).want(401)
		s.send("POST", "/v1/session", api.Credentials{Email: "nobody@example.org", Password: "wrong horse"}).want(401)
	}
	want := map[string]int{
		"delete_conversion ok " + u.ID + " " + k.ID + " " + c.ID:                    1,
		"refused scope_missing " + u.ID + " " + reader.ID + " /v1/conversions/{id}": 1,
		"revoke_key ok " + u.ID + "  " + k.ID:                                       1,
		"login wrong_credentials   ":                                                4,
	}
	if got := told(); !maps.Equal(got, want) {
		t.Errorf("told is %v, want %v", got, want)
	}
	for range 3 * refusalsTold.Burst {
		u.with(readSecret).call("POST", "/v1/conversions", nil).want(403, "scope_missing")
	}
	if n := told()["refused scope_missing "+u.ID+" "+reader.ID+" /v1/conversions"]; n == 0 || n >= refusalsTold.Burst {
		t.Errorf("%d refusals told", n)
	}
	u.call("POST", "/v1/keys", api.NewKey{Password: password, Name: "x", Scopes: []account.Scope{"read"}}).want(201)
	events, err := s.o.Users.Events(t.Context(), u.ID, 1)
	check(t, err)
	equal(t, "what was done is told all the same", events[0].Action, account.ActionKeyMade)
}
