// Package mailtest is the conformance suite of mail senders, and an SMTP server
// to send to.
package mailtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"tonearm/internal/mail"
)

// Box is a sender and the mails that it delivered so far, as written, in any
// order.
type Box struct {
	Sender    mail.Sender
	Delivered func() [][]byte
}

// Run runs the suite. open returns an empty box for one test.
func Run(t *testing.T, open func(t *testing.T) Box) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Box)
	}{
		{"Mail", whole},
		{"NoMessageID", noMessageID},
		{"Injection", injection},
		{"Many", many},
		{"Canceled", canceled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Sample is a mail with everything that is hard to carry.
func Sample() mail.Message {
	return mail.Message{
		ID: "0193a4f2.1.1760000000000@example.org", To: "ada+mp3@example.org",
		Subject: "Fertig: Öl & Wasser – „live“ 🎧 " + strings.Repeat("sehr lang ", 12),
		Text:    "Grüße!\n.\nA line that starts with a dot:\n.hidden\nFrom here = there\n" + strings.Repeat("long ", 300) + "\nhttps://example.org/download?mp3_id=1&token=a.b.c\n",
		HTML:    `<p>Grüße! <a href="https://example.org/download?mp3_id=1&amp;token=a.b.c">MP3</a></p>` + strings.Repeat("<p>日本語</p>", 50),
		Date:    time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),

		Unsubscribe: "https://example.org/account/unsubscribe?lang=de&token=" + strings.Repeat("e", 400) + ".b_-c",
	}
}

// Parsed is a mail as its reader sees it.
type Parsed struct {
	Header     netmail.Header
	Subject    string
	Text, HTML string
}

// Parse reads a mail with two bodies.
func Parse(t testing.TB, raw []byte) Parsed {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	p := Parsed{Header: msg.Header}
	if p.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %s, %v", kind, err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
			t.Errorf("transfer encoding %q", got)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(body), "\r\n", "\n")
		switch kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind {
		case "text/plain":
			p.Text = text
		case "text/html":
			p.HTML = text
		default:
			t.Errorf("a part of type %s", kind)
		}
	}
}

func whole(t *testing.T, box Box) {
	if err := box.Sender.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if box.Sender.Timeout() <= 0 {
		t.Error("no time-out")
	}
	want := Sample()
	if err := box.Sender.Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	raw := box.Delivered()
	if len(raw) != 1 {
		t.Fatalf("%d mails", len(raw))
	}
	for line := range bytes.Lines(raw[0]) {
		if len(line) > 998 || bytes.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
			t.Errorf("a line that not every server takes: %.80q", line)
		}
	}
	got := Parse(t, raw[0])
	if got.Subject != want.Subject {
		t.Errorf("subject %q, want %q", got.Subject, want.Subject)
	}
	if strings.TrimRight(got.Text, "\n") != strings.TrimRight(want.Text, "\n") {
		t.Errorf("text %q, want %q", got.Text, want.Text)
	}
	if strings.TrimRight(got.HTML, "\n") != want.HTML {
		t.Errorf("HTML %q, want %q", got.HTML, want.HTML)
	}
	if id := got.Header.Get("Message-ID"); id != "<"+want.ID+">" {
		t.Errorf("message id %s", id)
	}
	if to, err := got.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != want.To {
		t.Errorf("to %v, %v", to, err)
	}
	if from, err := got.Header.AddressList("From"); err != nil || len(from) != 1 || from[0].Name != "Tonearm" {
		t.Errorf("from %v, %v", from, err)
	}
	if date, err := got.Header.Date(); err != nil || !date.Equal(want.Date) {
		t.Errorf("date %v, %v", date, err)
	}
	if link, post := got.Header.Get("List-Unsubscribe"), got.Header.Get("List-Unsubscribe-Post"); link != "<"+want.Unsubscribe+">" || post != "List-Unsubscribe=One-Click" {
		t.Errorf("List-Unsubscribe: %s, List-Unsubscribe-Post: %s", link, post)
	}
	if auto := got.Header.Get("Auto-Submitted"); auto != "auto-generated" {
		t.Errorf("Auto-Submitted: %s", auto)
	}
}

func noMessageID(t *testing.T, box Box) {
	m := Sample()
	m.ID, m.Date = "", time.Time{}
	for range 2 {
		if err := box.Sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for _, raw := range box.Delivered() {
		p := Parse(t, raw)
		ids = append(ids, p.Header.Get("Message-ID"))
		if date, err := p.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("date %v, %v", date, err)
		}
	}
	if len(ids) != 2 || ids[0] == ids[1] || !strings.Contains(ids[0], "@") || !strings.HasPrefix(ids[0], "<") {
		t.Errorf("message ids %v", ids)
	}
}

func injection(t *testing.T, box Box) {
	for name, change := range map[string]func(*mail.Message){
		"subject":             func(m *mail.Message) { m.Subject = "Done\r\nBcc: eve@example.org" },
		"subject, LF":         func(m *mail.Message) { m.Subject = "Done\nBcc: eve@example.org" },
		"subject, CR":         func(m *mail.Message) { m.Subject = "Done\rBcc: eve@example.org" },
		"subject, NUL":        func(m *mail.Message) { m.Subject = "Done\x00" },
		"recipient":           func(m *mail.Message) { m.To = "a@example.org\r\nRCPT TO:<eve@example.org>" },
		"two recipients":      func(m *mail.Message) { m.To = "a@example.org, eve@example.org" },
		"recipient's bracket": func(m *mail.Message) { m.To = "a@example.org> NOTIFY=NEVER" },
		"no recipient":        func(m *mail.Message) { m.To = "" },
		"not an address":      func(m *mail.Message) { m.To = "nobody" },
		"message id":          func(m *mail.Message) { m.ID = "a@example.org>\r\nBcc: eve@example.org" },
		"message id bracket":  func(m *mail.Message) { m.ID = "a@example.org> <b" },
	} {
		m := Sample()
		change(&m)
		if err := box.Sender.Send(t.Context(), m); !mail.Permanent(err) {
			t.Errorf("%s: got %v, want a permanent error", name, err)
		}
	}
	if got := box.Delivered(); len(got) != 0 {
		t.Errorf("%d mails went out", len(got))
	}
	// A line of the body that looks like a header is only text.
	m := Sample()
	m.Text = "first\r\n.\r\nMAIL FROM:<eve@example.org>\r\n\r\nBcc: eve@example.org\n"
	if err := box.Sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	raw := box.Delivered()
	if len(raw) != 1 {
		t.Fatalf("%d mails", len(raw))
	}
	if got := Parse(t, raw[0]); !strings.Contains(got.Text, "\n.\nMAIL FROM:<eve@example.org>\n\nBcc: eve@example.org") || got.Header.Get("Bcc") != "" {
		t.Errorf("text %q", got.Text)
	}
}

func many(t *testing.T, box Box) {
	const n = 10
	errs := make(chan error)
	var want []string
	for i := range n {
		m := Sample()
		m.ID = "many." + string(rune('a'+i)) + "@example.org"
		want = append(want, "<"+m.ID+">")
		go func() { errs <- box.Sender.Send(t.Context(), m) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	var got []string
	for _, raw := range box.Delivered() {
		got = append(got, Parse(t, raw).Header.Get("Message-ID"))
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func canceled(t *testing.T, box Box) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var failed *mail.Error
	if err := box.Sender.Send(ctx, Sample()); !errors.As(err, &failed) || failed.Permanent || failed.Unknown {
		t.Errorf("got %#v, want a temporary *mail.Error", err)
	}
	if got := box.Delivered(); len(got) != 0 {
		t.Errorf("%d mails went out", len(got))
	}
}
