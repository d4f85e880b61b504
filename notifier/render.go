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
	w, language := wordingOf(c)
	token, err := n.options.Tokens.Unsubscribe(c.OwnerID, c.OwnerEmail)
	if err != nil {
		return m, fmt.Errorf("sign the link to fewer mails of %s: %w", c.ID, err)
	}
	m.Unsubscribe = n.options.PublicURL + "/account/unsubscribe?" + url.Values{"lang": {string(language)}, "token": {token}}.Encode()
	data := outcome{ID: c.ID, Video: printable(c.Filename), Unsubscribe: m.Unsubscribe}
	name := "failed." + string(language)
	m.Subject = subject(c, w.failed, w.inbox, data.Video)
	if c.State == conversion.Done {
		name = "done." + string(language)
		m.Subject = subject(c, w.done, w.inbox, data.Video)
		err = n.describeMP3(c, w, &data)
	} else {
		failure := conversion.Failure{Code: conversion.CodeInternal, Message: "Something went wrong on the server."}
		if c.Error != nil {
			failure = *c.Error
		}
		failure.Message = printable(failure.Message)
		data.Code = string(failure.Code)
		data.Reason, data.Advice, data.Detail = w.failure(c, failure, n.options.PublicURL)
	}
	if err != nil {
		return m, err
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

// outcome is what the texts of both outcomes are made with.
type outcome struct {
	ID, Video, Unsubscribe                          string
	MP3Name, MP3ID, Length, Size, Link, Until, Kept string   // of an MP3
	Notes                                           []string // about it
	Code, Reason, Advice, Detail                    string   // of a failure
}

// describeMP3 fills in what is said of an MP3.
func (n *Notifier) describeMP3(c conversion.Conversion, w wording, data *outcome) error {
	token, until, err := n.options.Tokens.Download(c.MP3.ID)
	if err != nil {
		return fmt.Errorf("sign download link of %s: %w", c.ID, err)
	}
	if !c.MP3Until.IsZero() {
		data.Kept = w.date(c.MP3Until.UTC())
		until = earlier(until, c.MP3Until)
	}
	data.MP3Name, data.MP3ID = printable(conversion.MP3Name(c.Filename)), c.MP3.ID
	data.Length, data.Size = conversion.Clock(c.MP3.Duration), w.size(c.MP3.Size)
	data.Link = n.options.PublicURL + "/download?" + url.Values{"mp3_id": {c.MP3.ID}, "token": {token}}.Encode()
	data.Until = w.date(until.UTC())
	for _, note := range c.MP3.Notes {
		data.Notes = append(data.Notes, printable(w.note(note)))
	}
	return nil
}

// subject names the video, unless somebody else may have named it: whoever can
// write into an inbox chooses what its owner reads.
func subject(c conversion.Conversion, says, inbox, video string) string {
	if c.Inbox() {
		return says + ": " + inbox
	}
	return says + ": " + short(video)
}

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
