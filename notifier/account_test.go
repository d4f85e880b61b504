package notifier

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/go-sql-driver/mysql"

	"tonearm/internal/account"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/conversion"
	"tonearm/internal/mail/mailtest"
	"tonearm/internal/queue"
	"tonearm/internal/waittest"
)

// accounts adds a users' store to the world.
func (w *world) accounts(t *testing.T) *sqlaccount.Store {
	t.Helper()
	s, err := sqlaccount.OpenSQLite(filepath.Join(t.TempDir(), "users.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.options.Mails = s
	return s
}

// theLink is the token in the links.
const theLink = "the.link.of.the.mail"

func sign(account.Proof) (string, error) { return theLink, nil }

// register owes the mail that proves an address.
func register(t *testing.T, s *sqlaccount.Store, email string, language account.Language) account.User {
	t.Helper()
	if err := s.Register(t.Context(), account.NewUser{Email: email, Password: "a password", Language: language}, sign); err != nil {
		t.Fatal(err)
	}
	u, err := s.ByEmail(t.Context(), email)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// awaitMails waits until no account mail is owed or being sent.
func awaitMails(t *testing.T, s *sqlaccount.Store) {
	t.Helper()
	waittest.Until(t, patience, "all account mails sent", func() bool {
		due, err := s.DueMails(t.Context(), time.Now().Add(time.Hour), 10)
		return err == nil && len(due) == 0
	})
}

// A mail that is owed is sent once, however many notifiers there are, and is
// only woken by the queue.
func TestAccountMail(t *testing.T) {
	w := newWorld(t)
	s := w.accounts(t)
	w.change = func(n *Notifier) { n.poll = time.Hour }
	for range 3 {
		w.start(t)
	}
	register(t, s, owner, account.English)
	waittest.Until(t, patience, "the mail", func() bool { // a notifier may not have subscribed yet
		if err := w.queue.Announce(t.Context(), queue.TopicMails); err != nil {
			t.Fatal(err)
		}
		return len(w.sink.Mails()) > 0
	})
	awaitMails(t, s)
	mails := w.sink.Mails()
	if len(mails) != 1 || w.sink.Tries() != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	m := mailtest.Parse(t, mails[0].Raw)
	link := "https://tonearm.example.org/account/confirm?lang=en&token=" + theLink
	if m.Subject != "Tonearm: Confirm your address" || !strings.Contains(m.Text, link) || !strings.Contains(m.HTML, strings.ReplaceAll(link, "&", "&amp;")) {
		t.Errorf("%s\n%s\n%s", m.Subject, m.Text, m.HTML)
	}
	if strings.Contains(w.log.String(), theLink) {
		t.Error("the link shows in the log")
	}
}

// If the wake-up is lost, and while Redis is away, the mail goes out all the
// same.
func TestAccountMailWithoutQueue(t *testing.T) {
	w := newWorld(t)
	s := w.accounts(t)
	w.change = func(n *Notifier) { n.poll = 10 * time.Millisecond }
	w.redis.SetError("down")
	w.start(t)
	register(t, s, owner, account.English)
	w.sink.Wait(t, 1)
}

// Temporary refusals are retried, a notifier that dies loses nothing, a
// permanent one is given up, and the link is forgotten in the end.
func TestAccountMailFailures(t *testing.T) {
	w := newWorld(t)
	s := w.accounts(t)
	w.change = func(n *Notifier) { n.poll, n.claim = 10*time.Millisecond, 200*time.Millisecond }
	tries := 0
	w.sink.OnRcpt(func(to string) error {
		if to == "no@example.org" {
			return &smtp.SMTPError{Code: 550, Message: "no such user"}
		}
		if tries++; tries < 3 {
			return &smtp.SMTPError{Code: 451, Message: "later"}
		}
		return nil
	})
	// Somebody claimed the mail and died.
	register(t, s, owner, account.English)
	due, err := s.DueMails(t.Context(), time.Now().Add(time.Second), 1)
	if err != nil || len(due) != 1 {
		t.Fatalf("due are %v, %v", due, err)
	}
	id := due[0].ID
	if _, err := s.UpdateMail(t.Context(), id, func(m *account.Mail) error {
		m.Notice.Claim(200*time.Millisecond, time.Now().Add(time.Second))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	register(t, s, "no@example.org", account.English)
	w.start(t)
	w.sink.Wait(t, 1)
	awaitMails(t, s)
	m, err := s.Mail(t.Context(), id)
	if err != nil || m.Notice.State != conversion.NoticeSent || m.Notice.Tries != 4 || m.Token != "" {
		t.Errorf("the mail is %+v, %v", m, err)
	}
	if w.count(t, outcomeDelayed) != 2 || w.count(t, outcomeSent) != 1 || w.count(t, outcomeRefused) != 1 {
		t.Errorf("%d delayed, %d sent, %d refused", w.count(t, outcomeDelayed), w.count(t, outcomeSent), w.count(t, outcomeRefused))
	}
}

// many is a users' store in which more mails are due than are read at a time.
// None of them can be claimed, because of claim.
type many struct {
	account.Mails
	claim error
}

func (many) DueMails(context.Context, time.Time, int) ([]account.Mail, error) {
	return make([]account.Mail, mostDue), nil
}

func (m many) UpdateMail(context.Context, string, func(*account.Mail) error) (account.Mail, error) {
	return account.Mail{}, m.claim
}

// A notifier whose rights do not suffice, or whose users' store is full, looks
// again after a while and not at once. One that finds that others send the mails
// does look at once.
func TestAccountMailsThatCannotBeClaimed(t *testing.T) {
	for claim, want := range map[error]bool{errors.New("UPDATE command denied"): false, conversion.ErrUnchanged: true} {
		w := newWorld(t)
		w.options.Mails = many{claim: claim}
		n, err := New(w.options)
		if err != nil {
			t.Fatal(err)
		}
		s := sending{free: make(chan struct{}, 1)}
		more := n.sendDue(t.Context(), &s)
		s.Wait()
		if more != want {
			t.Errorf("%v: looks again at once: %t", claim, more)
		}
		if told := strings.Contains(w.log.String(), "UPDATE command denied"); told == want {
			t.Errorf("%v: the log says:\n%s", claim, w.log)
		}
	}
}

// A link that has expired is not mailed.
func TestAccountMailLate(t *testing.T) {
	w := newWorld(t)
	s := w.accounts(t)
	register(t, s, owner, account.English)
	w.options.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	w.start(t)
	waittest.Until(t, patience, "it is given up", func() bool { return w.count(t, outcomeRefused) == 1 })
	if w.sink.Tries() != 0 {
		t.Error("it was sent")
	}
}

// Every kind of mail has a text in every language, with a link where there has to
// be one, and nothing of somebody else's.
func TestAccountTexts(t *testing.T) {
	w := newWorld(t)
	n, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	subjects := map[string]bool{}
	for _, language := range []account.Language{account.English, account.German} {
		for _, kind := range account.MailKinds {
			m, err := n.renderAccount(account.Mail{ID: "id", Recipient: owner, Kind: kind, Language: language, Token: theLink, Notice: conversion.Notice{OwedSince: now}}, now)
			if err != nil {
				t.Errorf("%s in %s: %v", kind, language, err)
				continue
			}
			_, linked := linkOf[kind]
			for _, body := range []string{m.Text, m.HTML} {
				if strings.Contains(body, theLink) != linked || strings.Contains(body, owner) || strings.Contains(body, "<no value>") {
					t.Errorf("%s in %s: %s", kind, language, body)
				}
			}
			if linked == kind.Tells() || len(m.Text) < 100 {
				if kind != account.MailTaken {
					t.Errorf("%s in %s: linked %t", kind, language, linked)
				}
			}
			subjects[m.Subject] = true
			if m.Unsubscribe != "" {
				t.Errorf("%s in %s: %s ends mails that have to come", kind, language, m.Unsubscribe)
			}
			writeOut(t, string(language)+"-account-"+string(kind), m)
		}
	}
	if len(subjects) != 2*len(account.MailKinds) {
		t.Errorf("%d subjects", len(subjects))
	}
	if m, err := n.renderAccount(account.Mail{Kind: account.MailDeleted, Language: "tlh"}, now); err != nil || !strings.Contains(m.Text, "is being deleted") {
		t.Errorf("an unknown language: %s, %v", m.Text, err)
	}
}

// A notifier may read and claim the mails of the users' database, and nothing
// else.
func TestPermissions(t *testing.T) {
	dsn := os.Getenv("TONEARM_TEST_MYSQL")
	if dsn == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_MYSQL is not set")
		}
		t.Skip("TONEARM_TEST_MYSQL is not set")
	}
	server, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	name := "n" + strings.ReplaceAll(conversion.NewID(), "-", "")[:24]
	run := func(ctx context.Context, statement string) {
		t.Helper()
		if _, err := server.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(t.Context(), "CREATE DATABASE "+name)
	defer run(context.WithoutCancel(t.Context()), "DROP DATABASE "+name)
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DBName = name
	open := func() *sqlaccount.Store {
		s, err := sqlaccount.OpenMySQL(cfg.FormatDSN(), nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	users := open()
	if err := users.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := register(t, users, owner, account.German)
	run(t.Context(), "CREATE USER "+name+"@'%'")
	defer run(context.WithoutCancel(t.Context()), "DROP USER "+name+"@'%'")
	run(t.Context(), "GRANT SELECT, UPDATE ON "+name+".account_mails TO "+name+"@'%'")
	cfg.User, cfg.Passwd = name, ""
	w := newWorld(t)
	own := open()
	w.options.Mails = own
	w.start(t)
	if m := mailtest.Parse(t, w.sink.Wait(t, 1)[0].Raw); m.Subject != "Tonearm: Bestätigen Sie Ihre Adresse" {
		t.Errorf("subject is %q", m.Subject)
	}
	awaitMails(t, users)
	for what, err := range map[string]error{
		"read a user":  func() error { _, err := own.ByID(t.Context(), u.ID); return err }(),
		"confirm":      func() error { _, err := own.LogOut(t.Context(), u.ID); return err }(),
		"owe a mail":   own.RequestReset(t.Context(), owner, sign),
		"read the log": func() error { _, err := own.Events(t.Context(), "", 1); return err }(),
		"read keys":    func() error { _, err := own.KeysOf(t.Context(), u.ID); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
