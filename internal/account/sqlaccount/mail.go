package sqlaccount

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// stateDecoy is the state of a mail to nobody. As in the index of the states new
// rows have others behind them, those that are owed and these cost the same.
const stateDecoy = conversion.NoticeState("decoy")

// mailTo is a new mail to a user.
func mailTo(u account.User, kind account.MailKind) account.Mail {
	return account.Mail{ID: uuid.NewString(), UserID: u.ID, Recipient: u.Email, Kind: kind, Language: u.Language,
		Notice: conversion.Notice{State: conversion.NoticeOwed, OwedSince: now()}}
}

// decoy is a mail to an address without account: everything but the sending.
func decoy(recipient string, kind account.MailKind) account.Mail {
	m := mailTo(account.User{ID: nobodyAt(recipient), Email: recipient}, kind)
	m.Notice.State = stateDecoy
	return m
}

// owe keeps a mail; account.ErrMails if there are too many of its kind in this
// hour. What anybody else can cause does not count for what the owner did.
func (s *Store) owe(ctx context.Context, x execer, m account.Mail) error {
	group, most := int64(0), int64(account.MailsPerHour)
	switch {
	case m.Kind.Tells():
		group = 1
	case !m.Kind.Resets():
		most--
	}
	first := m.Notice.OwedSince.Unix() / 3600 * account.MailsPerHour
	for slot := first; slot < first+most; slot++ {
		_, err := x.ExecContext(ctx, `INSERT INTO account_mails (id, user_id, recipient, mailbox, slot, kind, language, token, state,
			tries, owed_since, not_before, claimed_until, sent_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, 0, '')`,
			m.ID, m.UserID, m.Recipient, mailbox(m.Recipient), 2*slot+group, string(m.Kind), string(m.Language), m.Token, string(m.Notice.State), millis(m.Notice.OwedSince))
		if !s.dialect.duplicate(err) {
			return err
		}
	}
	return account.ErrMails
}

// mailbox is where mails to an address arrive, as far as it can be told: many
// servers leave out what follows a plus sign.
func mailbox(address string) string {
	at := strings.LastIndexByte(address, '@')
	if plus := strings.IndexByte(address, '+'); plus > 0 && plus < at {
		return address[:plus] + address[at:]
	}
	return address
}

// tell owes a mail that says what has happened. Beyond the limit nothing is
// owed: that does not undo what has happened. An address that is not proven is
// not told: it may be that of somebody else, whom the account is no concern of.
func (s *Store) tell(ctx context.Context, x execer, u account.User, kind account.MailKind) error {
	if !u.Confirmed() {
		return nil
	}
	err := s.owe(ctx, x, mailTo(u, kind))
	if errors.Is(err, account.ErrMails) {
		return nil
	}
	return err
}

const mailColumns = `id, user_id, recipient, kind, language, token, state, tries, owed_since, not_before, claimed_until, sent_at, reason`

func scanMail(scan func(...any) error) (m account.Mail, err error) {
	var owed, before, claimed, sent int64
	n := &m.Notice
	err = scan(&m.ID, &m.UserID, &m.Recipient, &m.Kind, &m.Language, &m.Token, &n.State, &n.Tries, &owed, &before, &claimed, &sent, &n.Reason)
	n.OwedSince, n.NotBefore, n.ClaimedUntil, n.SentAt = at(owed), at(before), at(claimed), at(sent)
	if errors.Is(err, sql.ErrNoRows) {
		return account.Mail{}, account.ErrNotFound
	}
	return m, err
}

// Mail returns one mail; account.ErrNotFound.
func (s *Store) Mail(ctx context.Context, id string) (account.Mail, error) {
	m, err := scanMail(s.db.QueryRowContext(ctx, `SELECT `+mailColumns+` FROM account_mails WHERE id = ?`, id).Scan)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return account.Mail{}, fmt.Errorf("read mail %s: %w", id, err)
	}
	return m, err
}

// UpdateMail changes the notice of a mail in one step. The link of a mail that is
// no longer owed is forgotten.
func (s *Store) UpdateMail(ctx context.Context, id string, change func(*account.Mail) error) (m account.Mail, err error) {
	var refused error
	err = s.transact(ctx, "update mail "+id, func(x execer) error {
		m, err = scanMail(x.QueryRowContext(ctx, `SELECT `+mailColumns+` FROM account_mails WHERE id = ?`+s.dialect.forUpdate, id).Scan)
		if err != nil {
			return err
		}
		as := m
		if refused = change(&m); refused != nil {
			m = as
			return nil //nolint:nilerr // UpdateMail returns it; there is nothing to write
		}
		n := m.Notice
		if n.State == conversion.NoticeSent || n.State == conversion.NoticeRefused {
			m.Token = ""
		}
		_, err := x.ExecContext(ctx, `UPDATE account_mails SET token = ?, state = ?, tries = ?, not_before = ?, claimed_until = ?, sent_at = ?, reason = ? WHERE id = ?`,
			m.Token, string(n.State), n.Tries, millis(n.NotBefore), millis(n.ClaimedUntil), millis(n.SentAt), n.Reason[:min(len(n.Reason), 512)], id)
		return err
	})
	if err != nil {
		return account.Mail{}, err
	}
	return m, refused
}

// DueMails returns some mails that may be claimed by now.
func (s *Store) DueMails(ctx context.Context, now time.Time, limit int) (mails []account.Mail, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+mailColumns+` FROM account_mails
		WHERE state = ? AND not_before <= ? OR state = ? AND claimed_until <= ? ORDER BY owed_since, id LIMIT ?`,
		string(conversion.NoticeOwed), millis(now), string(conversion.NoticeSending), millis(now), limit)
	if err != nil {
		return nil, fmt.Errorf("list mails: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		m, err := scanMail(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list mails: %w", err)
		}
		mails = append(mails, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list mails: %w", err)
	}
	return mails, nil
}
