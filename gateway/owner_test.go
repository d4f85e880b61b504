package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// rule says who may call a route, and what the route is about.
type rule int

const (
	everybody    rule = iota // needs no login
	loggedIn                 // about the caller only
	byConversion             // about the conversion whose id is in the path
	byMP3                    // about the MP3 whose id is in the path or the query
	inSession                // about the caller's account; not with an API key
	byKey                    // about the API key whose id is in the path; not with an API key
	operators                // for operators
)

// rules has a rule for every route in /openapi.json. A route without a rule, or
// with a wrong one, fails the tests: decide who may call a route before you add
// it.
var rules = map[string]rule{
	"POST /login":                        everybody,
	"POST /v1/users":                     everybody,
	"POST /v1/users/confirm":             everybody,
	"POST /v1/users/reset":               everybody,
	"POST /v1/users/password":            everybody,
	"POST /v1/users/email":               everybody,
	"POST /v1/session":                   everybody,
	"DELETE /v1/session":                 everybody,
	"POST /v1/session/refresh":           inSession,
	"DELETE /v1/sessions":                inSession,
	"GET /v1/me":                         loggedIn,
	"PATCH /v1/me":                       inSession,
	"DELETE /v1/me":                      inSession,
	"PUT /v1/me/password":                inSession,
	"PUT /v1/me/email":                   inSession,
	"POST /v1/me/confirmation":           inSession,
	"POST /v1/keys":                      inSession,
	"GET /v1/keys":                       inSession,
	"DELETE /v1/keys/{key_id}":           byKey,
	"GET /v1/admin/audit":                operators,
	"GET /v1/presets":                    everybody,
	"POST /v1/conversions":               loggedIn,
	"GET /v1/conversions":                loggedIn,
	"GET /v1/conversions/{id}":           byConversion,
	"DELETE /v1/conversions/{id}":        byConversion,
	"POST /v1/conversions/{id}/parts":    byConversion,
	"POST /v1/conversions/{id}/complete": byConversion,
	"POST /v1/conversions/{id}/cancel":   byConversion,
	"POST /v1/conversions/{id}/retry":    byConversion,
	"GET /v1/mp3s":                       loggedIn,
	"GET /v1/mp3s/{mp3_id}":              byMP3,
	"GET /v1/mp3s/{mp3_id}/download":     byMP3,
	"POST /upload":                       loggedIn,
	"PUT /upload":                        loggedIn,
	"POST /upload/{filename}":            loggedIn,
	"PUT /upload/{filename}":             loggedIn,
	"GET /download":                      byMP3,
}

// pages are the routes that are not in /openapi.json. They show nobody's data.
var pages = []string{"GET /.well-known/jwks.json", "GET /account/{kind}", "POST /account/{kind}", "GET /docs", "GET /docs/{file}", "GET /openapi.json", "GET /{$}"}

// described lists the routes in /openapi.json.
func (s *stack) described() []string {
	s.t.Helper()
	var spec struct {
		Paths map[string]map[string]json.RawMessage
	}
	check(s.t, json.Unmarshal(s.send("GET", "/openapi.json", nil).want(200).body, &spec))
	var routes []string
	for path, methods := range spec.Paths {
		for method := range methods {
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	return routes
}

func TestEveryRouteHasARule(t *testing.T) {
	s := start(t)
	routes := s.described()
	if want := slices.Sorted(maps.Keys(rules)); !slices.Equal(routes, want) {
		t.Errorf("routes in /openapi.json:\n%q\nrules:\n%q", routes, want)
	}
	for route, rule := range rules {
		if about := strings.Contains(route, "id}"); about != (rule == byConversion || rule == byMP3 || rule == byKey) && route != "GET /download" {
			t.Errorf("%s has an id in its path, or none, against its rule", route)
		}
	}
	served := slices.Sorted(slices.Values(s.mux.patterns))
	if want := slices.Sorted(slices.Values(append(routes, pages...))); !slices.Equal(served, want) {
		t.Errorf("served:\n%q\ndescribed and pages:\n%q", served, want)
	}
}

// TestOwnersOnly calls every route as another user, with the ids of conversions
// in every state.
func TestOwnersOnly(t *testing.T) {
	s := start(t)
	alice, bob := s.user("alice@example.org"), s.user("bob@example.org")

	ids := map[string]conversion.Conversion{}
	for _, state := range conversion.States {
		for _, parts := range []bool{false, true} {
			c := s.advance(alice.announce(3, parts).ID, state)
			ids[string(state)+map[bool]string{true: " in parts"}[parts]] = c
		}
	}
	ids["malformed"] = conversion.Conversion{ID: "x", MP3: conversion.MP3{ID: "1' OR 1=1"}}
	unknown := conversion.Conversion{ID: conversion.NewID(), MP3: conversion.MP3{ID: "5f8e1c1e-8d5c-4a0f-9c2d-0d6f0f4c2b11"}}
	own := bob.announce(3, false)
	key, _ := alice.key(account.ScopeConvert)

	before := s.everything(alice)
	for _, route := range s.described() {
		method, path, _ := strings.Cut(route, " ")
		ask := func(u *user, c conversion.Conversion) reply {
			r := u.call(method, fill(path, c), nil)
			r.header.Del("Date")
			return r
		}
		switch rules[route] {
		case byConversion, byMP3:
			want := ask(bob, unknown).want(http.StatusNotFound, "not_found")
			for name, c := range ids {
				got := ask(bob, c)
				if got.status != want.status || string(got.body) != string(want.body) || !reflect.DeepEqual(got.header, want.header) {
					t.Errorf("%s with %s: got %d %v %s, want %d %v %s", route, name,
						got.status, got.header, got.body, want.status, want.header, want.body)
				}
			}
			for _, parts := range []string{"", " in parts"} { // gone for the owner too
				if got := ask(alice, ids["deleted"+parts]); string(got.body) != string(want.body) || !reflect.DeepEqual(got.header, want.header) {
					t.Errorf("%s of a deleted one: got %d %s", route, got.status, got.body)
				}
			}
		case byKey:
			theirs := bob.call(method, strings.ReplaceAll(path, "{key_id}", key.ID), nil).want(http.StatusNotFound, "not_found")
			none := bob.call(method, strings.ReplaceAll(path, "{key_id}", unknown.ID), nil).want(http.StatusNotFound)
			equal(t, route+" of another and of none", string(theirs.body), string(none.body))
		case operators:
			bob.call(method, path, nil).want(http.StatusForbidden, "admin_required")
		case loggedIn:
			got := bob.call(method, fill(path, ids["done"]), nil)
			for _, c := range ids {
				if len(c.ID) == 36 && (strings.Contains(string(got.body), c.ID) || strings.Contains(string(got.body), c.MP3.ID)) {
					t.Errorf("%s shows bob what is alice's: %s", route, got.body)
				}
			}
		case everybody:
			continue
		}
		for _, header := range [][]string{nil, {"Authorization", "Bearer nonsense"}, {"Authorization", "Nonsense"}} {
			if r := s.send(method, fill(path, ids["done"]), nil, header...); r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %q: got %d %v", route, header, r.status, r.header)
			}
		}
	}
	if after := s.everything(alice); !reflect.DeepEqual(after, before) {
		t.Errorf("bob changed what is alice's:\n%+v\n%+v", before, after)
	}
	if got := decode[api.Conversions](bob.call("GET", "/v1/conversions", nil).want(200)); len(got.Conversions) != 1 || got.Conversions[0].ID != own.ID {
		t.Errorf("bob sees %+v, want %s alone", got, own.ID)
	}
}

// fill puts the ids of c into the path.
func fill(path string, c conversion.Conversion) string {
	escape := strings.NewReplacer(" ", "%20", "'", "%27", "=", "%3D")
	path = strings.NewReplacer("{id}", escape.Replace(c.ID), "{key_id}", "x", "{mp3_id}", escape.Replace(c.MP3.ID), "{filename}", "x.mp4").Replace(path)
	if path == "/download" {
		path += "?mp3_id=" + escape.Replace(c.MP3.ID)
	}
	return path
}

// everything returns all records of a user that are not deleted.
func (s *stack) everything(u *user) []conversion.Conversion {
	s.t.Helper()
	all, err := s.o.Records.List(s.t.Context(), conversion.Query{OwnerID: u.ID, Limit: 1000})
	check(s.t, err)
	return all
}
