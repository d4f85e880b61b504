package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/account/jwttoken"
)

const template = `
# drawn once
mysql-password=$(hex)
signing-keys.pem=$(ed25519)

users=tonearm:$(mysql-password)@tcp(mysql:3306)/tonearm
`

func TestFill(t *testing.T) {
	first, err := fill(template, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(first["mysql-password"]); got != 64 {
		t.Errorf("password of %d characters, want 64", got)
	}
	if got, want := string(first["users"]), "tonearm:"+string(first["mysql-password"])+"@tcp(mysql:3306)/tonearm"; got != want {
		t.Errorf("users: got %q, want %q", got, want)
	}
	if keys, err := jwttoken.ParseKeys(first["signing-keys.pem"]); err != nil || len(keys) != 1 {
		t.Errorf("signing keys: %d, %v", len(keys), err)
	}
	if again, err := fill(template, first); err != nil || len(again) != 0 {
		t.Errorf("a second time: %d changed, %v", len(again), err)
	}
	changed, err := fill(strings.ReplaceAll(template, "mysql:3306", "db:3307"), first)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(changed["users"]), "tonearm:"+string(first["mysql-password"])+"@tcp(db:3307)/tonearm"; got != want || len(changed) != 1 {
		t.Errorf("changed: got %q and %d keys, want %q alone", got, len(changed), want)
	}
	for _, bad := range []string{"no value", "users=$(mysql-password)"} {
		if _, err := fill(bad, nil); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestApply(t *testing.T) {
	var stored map[string][]byte
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.Method+" "+r.URL.Path)
		if r.Header.Get("Authorization") != "Bearer token" {
			t.Error("no token sent")
		}
		var s secret
		switch {
		case r.Method == http.MethodGet && stored == nil:
			http.NotFound(w, r)
			return
		case r.Method == http.MethodGet:
		default:
			if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
				t.Error(err)
			}
			if stored == nil {
				stored = map[string][]byte{}
			}
			for key, value := range s.Data {
				stored[key] = value
			}
		}
		json.NewEncoder(w).Encode(secret{Data: stored})
	}))
	defer server.Close()
	c := &cluster{http: server.Client(), url: server.URL, namespace: "tonearm", name: "tonearm", bearer: "token"}
	for _, step := range []struct {
		template string
		want     int
	}{{template, 3}, {template, 0}, {template + "event-token=$(hex)\n", 1}} {
		changed, err := c.apply(t.Context(), step.template)
		if err != nil || len(changed) != step.want {
			t.Errorf("%d keys written, want %d: %v", len(changed), step.want, err)
		}
	}
	const base = "/api/v1/namespaces/tonearm/secrets"
	want := []string{"GET " + base + "/tonearm", "POST " + base, "GET " + base + "/tonearm", "GET " + base + "/tonearm", "PATCH " + base + "/tonearm"}
	if !slices.Equal(calls, want) {
		t.Errorf("calls: got %q, want %q", calls, want)
	}
	server.Close()
	if _, err := c.apply(t.Context(), template); err == nil {
		t.Error("no error from a server that is away")
	}
}
