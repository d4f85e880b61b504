package sqlaccount

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"tonearm/internal/account"
)

// nobodyAt is the user of decoys for an address: mails to nobody and their proofs.
// It is the same each time, as that of an account is.
func nobodyAt(email string) string { return uuid.NewSHA1(uuid.NameSpaceURL, []byte(email)).String() }

// Register makes an account whose address is not proven, or tells the owner of
// the address that somebody tried. Both are the same statements on as many rows.
func (s *Store) Register(ctx context.Context, n account.NewUser, sign account.Signer) error {
	u, hash, err := s.prepareUser(ctx, n)
	if err != nil {
		return err
	}
	spellings, err := account.Spellings(n.Email)
	if err != nil {
		return err
	}
	for range 3 { // somebody else may register the address meanwhile
		err = s.transact(ctx, "register", func(x execer) error {
			owner, _, taken, err := s.find(ctx, x, spellings)
			if err != nil {
				return err
			}
			table, row, secret := "users", u, hash
			m, link := mailTo(u, account.MailConfirm), account.ProofConfirm
			if taken {
				m, link = mailTo(owner, account.MailRegistered), account.ProofReset
				if owner.Deleted() {
					m = decoy(u.Email, account.MailRegistered)
				}
				table, row.Email, secret = "account_decoys", u.ID, s.dummy
			}
			if err := insertUser(ctx, x, table, row, secret); err != nil {
				return err
			}
			return unsaid(s.oweLink(ctx, x, m, link, sign))
		})
		if !s.dialect.duplicate(err) {
			break
		}
	}
	return err
}

// RequestConfirmation owes the mail that proves the user's address.
func (s *Store) RequestConfirmation(ctx context.Context, userID string, sign account.Signer) error {
	_, err := s.change(ctx, "request confirmation", userID, func(x execer, u *account.User, _ *string) error {
		if u.Confirmed() {
			return account.ErrUsed
		}
		m := mailTo(*u, account.MailConfirm)
		return s.oweLink(ctx, x, m, account.ProofConfirm, sign)
	})
	return err
}

// RequestReset owes the mail with which the password can be set anew. An
// unknown address gets a decoy.
func (s *Store) RequestReset(ctx context.Context, email string, sign account.Signer) error {
	spellings, err := account.Spellings(email)
	if err != nil {
		return err
	}
	return s.transact(ctx, "request reset", func(x execer) error {
		u, _, known, err := s.find(ctx, x, spellings)
		if err != nil {
			return err
		}
		m := mailTo(u, account.MailReset)
		if !known || u.Deleted() {
			m = decoy(account.EmailName(email), account.MailReset)
		}
		return unsaid(s.oweLink(ctx, x, m, account.ProofReset, sign))
	})
}

// RequestEmail owes a mail to a new address of the user.
func (s *Store) RequestEmail(ctx context.Context, as account.User, email string, sign account.Signer) error {
	email, err := account.NormalizeEmail(email)
	if err != nil {
		return err
	}
	spellings, err := account.Spellings(email)
	if err != nil {
		return err
	}
	_, err = s.changeAs(ctx, "request address", as, func(x execer, u *account.User, _ *string) error {
		m := mailTo(*u, account.MailEmail)
		m.Recipient = email
		owner, _, taken, err := s.find(ctx, x, spellings)
		if err != nil {
			return err
		}
		if taken {
			m = mailTo(owner, account.MailTaken)
			if owner.Deleted() {
				m = decoy(email, account.MailTaken)
			}
		}
		if m.Kind == account.MailTaken { // the link is for nobody
			return unsaid(s.oweLink(ctx, x, m, "", sign))
		}
		return unsaid(s.oweLink(ctx, x, m, account.ProofEmail, sign))
	})
	return err
}

// unsaid keeps from others how many mails somebody gets.
func unsaid(err error) error {
	if errors.Is(err, account.ErrMails) {
		return nil
	}
	return err
}

// oweLink owes a mail with a link, and keeps the proof behind it. Without a
// kind the work is the same, but there is no link.
func (s *Store) oweLink(ctx context.Context, x execer, m account.Mail, kind account.ProofKind, sign account.Signer) error {
	p := account.Proof{ID: uuid.NewString(), UserID: m.UserID, Kind: kind, Email: m.Recipient, ExpiresAt: now().Add(kind.Life())}
	if kind == "" {
		p.Kind, p.UserID = account.ProofEmail, nobodyAt(m.Recipient)
	}
	token, err := sign(p)
	if err != nil {
		return fmt.Errorf("sign the link of a mail: %w", err)
	}
	if kind != "" {
		m.Token = token
	}
	if _, err := x.ExecContext(ctx, `INSERT INTO account_proofs (id, user_id, kind, email, expires_at) VALUES (?, ?, ?, ?, ?)`,
		p.ID, p.UserID, string(p.Kind), p.Email, millis(p.ExpiresAt)); err != nil {
		return err
	}
	return s.owe(ctx, x, m)
}

// use takes a proof of the user, so that nobody else can; account.ErrUsed.
func (s *Store) use(ctx context.Context, x execer, p account.Proof) error {
	res, err := x.ExecContext(ctx, `DELETE FROM account_proofs WHERE id = ? AND user_id = ? AND kind = ? AND email = ? AND expires_at > ?`,
		p.ID, p.UserID, string(p.Kind), p.Email, millis(now()))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(account.ErrUsed, err)
	}
	return nil
}

// Confirm uses a proof of the address of a new account.
func (s *Store) Confirm(ctx context.Context, p account.Proof) (account.User, error) {
	return s.byProof(ctx, "confirm address", account.ProofConfirm, p, func(execer, *account.User, *string) error {
		return nil
	})
}

// Reset uses a proof to set the password anew.
func (s *Store) Reset(ctx context.Context, p account.Proof, password string) (u account.User, err error) {
	if err := account.CheckPassword(password); err != nil {
		return u, err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return u, fmt.Errorf("reset password: %w", err)
	}
	u, err = s.byProof(ctx, "reset password", account.ProofReset, p, func(x execer, u *account.User, old *string) error {
		*old = hash
		u.Generation++
		if _, err := x.ExecContext(ctx, `DELETE FROM account_keys WHERE user_id = ?`, u.ID); err != nil {
			return err
		}
		if err := endLinks(ctx, x, u.ID); err != nil {
			return err
		}
		return s.tell(ctx, x, *u, account.MailPasswordChanged)
	})
	return u, err
}

// endLinks ends the links to another password or address that are under way:
// they may be somebody else's, who knew the old password.
func endLinks(ctx context.Context, x execer, userID string) error {
	_, err := x.ExecContext(ctx, `DELETE FROM account_proofs WHERE user_id = ? AND kind <> ?`, userID, string(account.ProofConfirm))
	return err
}

// ChangeEmail uses a proof of a new address.
func (s *Store) ChangeEmail(ctx context.Context, p account.Proof) (u account.User, err error) {
	u, err = s.change(ctx, "change address", p.UserID, func(x execer, u *account.User, _ *string) error {
		if p.Kind != account.ProofEmail {
			return account.ErrUsed
		}
		if err := s.use(ctx, x, p); err != nil {
			return err
		}
		if err := s.tell(ctx, x, *u, account.MailEmailChanged); err != nil {
			return err
		}
		u.Email, u.ConfirmedAt, u.ProvenAt = p.Email, now(), now()
		if err := changed(ctx, x, u.ID); err != nil {
			return err
		}
		// Links that were mailed to the old address are no longer good.
		_, err := x.ExecContext(ctx, `DELETE FROM account_proofs WHERE user_id = ?`, u.ID)
		return err
	})
	if s.dialect.duplicate(err) {
		return u, account.ErrExists
	}
	return u, unusable(err)
}

// unusable is ErrUsed for a link whose account is gone, and so is what the link
// was for.
func unusable(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrUsed
	}
	return err
}

// byProof changes a user by a proof of their present address.
func (s *Store) byProof(ctx context.Context, what string, kind account.ProofKind, p account.Proof, do func(execer, *account.User, *string) error) (account.User, error) {
	u, err := s.change(ctx, what, p.UserID, func(x execer, u *account.User, hash *string) error {
		if p.Kind != kind || p.Email != u.Email {
			return account.ErrUsed
		}
		if err := s.use(ctx, x, p); err != nil {
			return err
		}
		u.ProvenAt = now()
		if !u.Confirmed() {
			u.ConfirmedAt = u.ProvenAt
		}
		return do(x, u, hash)
	})
	return u, unusable(err)
}

// ChangePassword sets a password and ends all sessions.
func (s *Store) ChangePassword(ctx context.Context, as account.User, password string) (u account.User, err error) {
	if err := account.CheckPassword(password); err != nil {
		return u, err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return u, fmt.Errorf("change password: %w", err)
	}
	u, err = s.changeAs(ctx, "change password", as, func(x execer, u *account.User, old *string) error {
		*old = hash
		u.Generation++
		if err := endLinks(ctx, x, u.ID); err != nil {
			return err
		}
		return s.tell(ctx, x, *u, account.MailPasswordChanged)
	})
	return u, err
}
