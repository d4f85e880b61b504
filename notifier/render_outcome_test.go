package notifier

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
	"tonearm/internal/mail"
	"tonearm/internal/mail/mailtest"
)

// writeOut keeps a mail for people to look at, where TONEARM_TEST_MAILS_OUT
// names a folder.
func writeOut(t *testing.T, name string, m mail.Message) {
	t.Helper()
	dir := os.Getenv("TONEARM_TEST_MAILS_OUT")
	if dir == "" {
		return
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, name+".html"), []byte(m.HTML), 0o600),
		os.WriteFile(filepath.Join(dir, name+".txt"), []byte("Subject: "+m.Subject+"\n\n"+m.Text), 0o600)); err != nil {
		t.Error(err)
	}
}

// Both outcomes, every failure and every note have a text in both languages,
// with a way to get fewer mails.
func TestOutcomeTexts(t *testing.T) {
	w := newWorld(t)
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 9, 8, 0, 0, time.UTC)
	fewer := "https://tonearm.example.org/account/unsubscribe?lang="
	check := func(name string, c conversion.Conversion, want ...string) {
		t.Helper()
		m, err := n.render(c, now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, body := range []string{m.Text, m.HTML} {
			for _, w := range append(want, "fewer.ada") {
				if !strings.Contains(body, w) {
					t.Errorf("%s: %q is missing in\n%s", name, w, body)
				}
			}
			if strings.Contains(body, "<no value>") || strings.Contains(body, "%!") || strings.Contains(body, "\n\n\n") {
				t.Errorf("%s:\n%s", name, body)
			}
		}
		if !strings.Contains(m.Text, "\n-- \n") || !strings.HasPrefix(m.Unsubscribe, fewer) || !strings.HasSuffix(m.Text, m.Unsubscribe+"\n") {
			t.Errorf("%s: no way to get fewer mails, %q:\n%s", name, m.Unsubscribe, m.Text)
		}
		writeOut(t, name, m)
	}
	for _, language := range []account.Language{account.English, account.German} {
		german := language == account.German
		c := conversion.Conversion{ID: "0193a4f2-0000-7000-8000-000000000000", OwnerID: "ada", OwnerEmail: owner, Language: string(language), Filename: "Meer & <Wind>.mp4", State: conversion.Done,
			MP3: conversion.MP3{ID: "mp3", Size: 4_200_000, Duration: 3723.4}, MP3Until: time.Date(2026, 3, 15, 9, 8, 0, 0, time.UTC)}
		for _, code := range conversion.NoteCodes {
			c.MP3.Notes = append(c.MP3.Notes, conversion.Note{Code: code, Message: "An English note.", At: 61})
		}
		want := []string{"4.2 MB", "Sunday, 15 March 2026, 09:08 UTC", "At 1:01: An English note. (gap)", "The MP3 is removed"}
		if german {
			want = []string{"4,2 MB", "Sonntag, 15. März 2026, 09:08 UTC", "Bei 1:01: Der Ton des Videos macht eine Pause", "Die MP3 wird am", "tonearm get " + c.ID}
		}
		check(string(language)+"-done", c, want...)
		c.MP3.Notes, c.MP3Until = nil, time.Time{}
		check(string(language)+"-done-plain", c)
		c.State = conversion.Failed
		for _, code := range conversion.Codes {
			c.Error = &conversion.Failure{Code: code, Message: "An English reason."}
			want := []string{string(code), c.ID, "An English reason."}
			if german {
				says, ok := germanFailures[code]
				if !ok {
					t.Errorf("%s has no German text", code)
				}
				want = append(want, says[0], says[1], "Einzelheiten (englisch):")
			}
			check(string(language)+"-failed-"+string(code), c, want...)
		}
	}
	for _, code := range conversion.NoteCodes {
		if germanNotes[code] == "" {
			t.Errorf("the note %s has no German text", code)
		}
	}
	c := conversion.Conversion{ID: "id", OwnerID: "ada", OwnerEmail: owner, Language: "tlh", State: conversion.Failed, Error: &conversion.Failure{Code: "of_a_later_version", Message: "M."}}
	check("unknown-language", c, "could not be converted")
	c.Language = "de"
	check("unknown-code", c, "of_a_later_version", "Auf dem Server")
}

// The language of a mail is the record's, and programs for mail find the way to
// get fewer in its header (RFC 8058).
func TestGermanOutcome(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	c := w.begin(t, "Meer.mp4")
	w.update(t, c.ID, func(c *conversion.Conversion) error {
		return c.Readdress(conversion.Addressee{Email: owner, Language: "de"}, time.Now())
	})
	w.update(t, c.ID, func(c *conversion.Conversion) error {
		return c.Complete(1, "nonce", conversion.Source{}, conversion.MP3{Size: 1, Duration: 1}, policy, time.Now())
	})
	m := mailtest.Parse(t, w.sink.Wait(t, 1)[0].Raw)
	if m.Subject != "Ihre MP3 ist fertig: Meer.mp4" || !strings.Contains(m.Text, "Die MP3 von") {
		t.Errorf("%s\n%s", m.Subject, m.Text)
	}
	if link, post := m.Header.Get("List-Unsubscribe"), m.Header.Get("List-Unsubscribe-Post"); link !=
		"<https://tonearm.example.org/account/unsubscribe?lang=de&token=fewer.ada>" || post != "List-Unsubscribe=One-Click" {
		t.Errorf("%s, %s", link, post)
	}
}
