package notifier

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/chromiumtest"
	"tonearm/internal/conversion"
	"tonearm/internal/mail"
)

// mailWidth is the width of a mail in pixels, in a window of a mail program and
// on a telephone.
var mailWidth = map[string]int{"": 640, "-narrow": 360}

// Mails fit the width of the window: nothing is cut off, and no line has to be
// moved sideways. With TONEARM_TEST_MAILS_OUT, pictures of them are written
// there; those in the documents are made so.
func TestMailsInChromium(t *testing.T) {
	browser := chromiumtest.Start(t)
	w := newWorld(t)
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 9, 8, 0, 0, time.UTC)
	mails := map[string]mail.Message{}
	for _, language := range []account.Language{account.English, account.German} {
		c := conversion.Conversion{ID: conversion.NewID(), OwnerID: "ada", OwnerEmail: owner, Language: string(language), Filename: "Talk in Hall 2.mp4", State: conversion.Done,
			MP3: conversion.MP3{ID: conversion.NewID(), Size: 4_200_000, Duration: 3723.4, Notes: []conversion.Note{{Code: conversion.NoteGap, Message: "A pause of 2.3 s was left out.", At: 754}}}, MP3Until: now.Add(14 * 24 * time.Hour)}
		failed := c
		failed.State, failed.Error = conversion.Failed, &conversion.Failure{Code: conversion.CodeTruncated, Message: "The file ends too early. The upload or the recording was cut off."}
		for name, c := range map[string]conversion.Conversion{"done": c, "failed": failed} {
			if mails[string(language)+"-"+name], err = n.render(c, now); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range account.MailKinds {
			m := account.Mail{ID: "id", Recipient: owner, Kind: kind, Language: language, Token: strings.Repeat("token.", 80), Notice: conversion.Notice{OwedSince: now}}
			if mails[string(language)+"-"+string(kind)], err = n.renderAccount(m, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(mails[strings.TrimPrefix(r.URL.Path, "/")].HTML))
	}))
	t.Cleanup(server.Close)
	page := browser.Page()
	for name, m := range mails {
		for suffix, width := range mailWidth {
			page.Go(server.URL + "/" + name)
			page.Picture(width, filepath.Join(picturesIn(t), name+suffix+".png"))
			if wide, err := strconv.Atoi(page.Eval(`document.documentElement.scrollWidth`)); err != nil || wide > width {
				t.Errorf("%s is %d pixels wide, the window %d: %s", name, wide, width, m.HTML)
			}
			if lang := page.Eval(`document.documentElement.lang`); !strings.HasPrefix(name, lang+"-") {
				t.Errorf("%s says that its language is %q", name, lang)
			}
		}
	}
}

func picturesIn(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("TONEARM_TEST_MAILS_OUT"); dir != "" {
		return dir
	}
	return t.TempDir()
}
