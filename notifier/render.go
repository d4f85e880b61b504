package notifier

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"tonearm/internal/conversion"
	"tonearm/internal/mail"
)

//go:embed template
var templates embed.FS

var (
	texts = texttemplate.Must(texttemplate.ParseFS(templates, "template/*.txt"))
	htmls = htmltemplate.Must(htmltemplate.ParseFS(templates, "template/*.html"))
)

// render writes the mail about a conversion's outcome.
func (n *Notifier) render(c conversion.Conversion, now time.Time) (mail.Message, error) {
	m := mail.Message{
		// The same for every try of this notice, and different for every other
		// notice.
		ID:   fmt.Sprintf("%s.%d.%d@%s", c.ID, c.Notice.Attempt, c.Notice.OwedSince.UnixMilli(), n.options.Domain),
		To:   c.OwnerEmail,
		Date: now,
	}
	var name string
	var data any
	video := printable(c.Filename)
	if c.State == conversion.Done {
		token, until, err := n.options.Tokens.Download(c.MP3.ID)
		if err != nil {
			return m, fmt.Errorf("sign download link of %s: %w", c.ID, err)
		}
		name = "done"
		m.Subject = subject(c, "Your MP3 is ready", video)
		kept := ""
		if !c.MP3Until.IsZero() {
			kept = date(c.MP3Until)
			until = earlier(until, c.MP3Until)
		}
		data = struct {
			Video, MP3Name, MP3ID, Length, Size, Link, Until, Kept string
			Notes                                                  []string
		}{
			video, printable(conversion.MP3Name(c.Filename)), c.MP3.ID, conversion.Clock(c.MP3.Duration), conversion.Size(c.MP3.Size),
			n.options.PublicURL + "/download?" + url.Values{"mp3_id": {c.MP3.ID}, "token": {token}}.Encode(),
			date(until), kept, told(c.MP3.Notes),
		}
	} else {
		failure := conversion.Failure{Code: conversion.CodeInternal, Message: "Something went wrong on the server."}
		if c.Error != nil {
			failure = *c.Error
		}
		name = "failed"
		m.Subject = subject(c, "Could not convert", video)
		data = struct{ Video, ID, Code, Reason, Advice string }{
			video, c.ID, string(failure.Code), printable(failure.Message), c.Advice(n.options.PublicURL),
		}
	}
	var text, html strings.Builder
	if err := texts.ExecuteTemplate(&text, name+".txt", data); err != nil {
		return m, fmt.Errorf("write mail about %s: %w", c.ID, err)
	}
	if err := htmls.ExecuteTemplate(&html, name+".html", data); err != nil {
		return m, fmt.Errorf("write mail about %s: %w", c.ID, err)
	}
	m.Text, m.HTML = text.String(), html.String()
	return m, nil
}

// subject names the video, unless somebody else may have named it: whoever can
// write into an inbox chooses what its owner reads.
func subject(c conversion.Conversion, says, video string) string {
	if c.Inbox() {
		return says + ": a file in your inbox"
	}
	return says + ": " + short(video)
}

func date(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 UTC") }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// printable removes from a name what would end a line or hide the rest of it.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, s))
}

// short cuts a name to a length that fits into a subject.
func short(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// told is what the notes of an MP3 say.
func told(notes []conversion.Note) []string {
	var said []string
	for _, n := range notes {
		said = append(said, printable(n.String()))
	}
	return said
}
