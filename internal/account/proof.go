package account

import (
	"time"

	"tonearm/internal/conversion"
)

// ProofKind is what a link in a mail is for.
type ProofKind string

// The kinds of proofs.
const (
	ProofConfirm ProofKind = "confirm" // the address of a new account
	ProofReset   ProofKind = "reset"   // a new password
	ProofEmail   ProofKind = "email"   // another address
)

// ProofKinds lists every kind.
var ProofKinds = []ProofKind{ProofConfirm, ProofReset, ProofEmail}

// Life is how long a proof is good.
func (k ProofKind) Life() time.Duration {
	if k == ProofReset {
		return time.Hour
	}
	return 24 * time.Hour
}

// Proof is what the link in a mail shows: whoever has it reads the mails to
// Email. It can be used once.
type Proof struct {
	ID        string // UUID
	UserID    string
	Kind      ProofKind
	Email     string // the address that is proven
	ExpiresAt time.Time
}

// Signer makes the token of a link.
type Signer func(Proof) (token string, err error)

// MailKind is what an account mail says.
type MailKind string

// The kinds of account mails.
const (
	MailConfirm         MailKind = "confirm"          // prove the address of your new account
	MailReset           MailKind = "reset"            // set your password anew
	MailEmail           MailKind = "email"            // prove your new address
	MailRegistered      MailKind = "registered"       // somebody registered your address, which has an account
	MailTaken           MailKind = "taken"            // somebody wants your address for another account
	MailEmailChanged    MailKind = "email_changed"    // to the old address
	MailPasswordChanged MailKind = "password_changed" // after a change or a reset
	MailKeyMade         MailKind = "key_made"
	MailDeleted         MailKind = "deleted"
)

// MailKinds lists every kind.
var MailKinds = []MailKind{MailConfirm, MailReset, MailEmail, MailRegistered, MailTaken, MailEmailChanged, MailPasswordChanged, MailKeyMade, MailDeleted}

// Tells reports whether a mail of this kind only says what the owner of an
// account did. Strangers can cause the others.
func (k MailKind) Tells() bool {
	switch k {
	case MailEmailChanged, MailPasswordChanged, MailKeyMade, MailDeleted:
		return true
	}
	return false
}

// Resets reports whether a mail of this kind has a link to a new password.
func (k MailKind) Resets() bool { return k == MailReset || k == MailRegistered }

// MailsPerHour is how many account mails that anybody else can cause one mailbox is
// owed in one hour of the clock, and how many others. Addresses that differ only
// in what follows a plus sign have one mailbox. The last of the former
// is kept for a link to a new password: otherwise somebody else could use up all
// of them and keep the owner of an account from getting one.
const MailsPerHour = 5

// Mail is one mail that is owed to a user. It holds no text: its kind says
// which.
type Mail struct {
	ID        string // UUID
	UserID    string
	Recipient string
	Kind      MailKind
	Language  Language
	Token     string // of the link; '' once the mail is no longer owed
	// Notice is how far the mail got, as for a conversion's outcome. Its Attempt
	// is not used.
	Notice conversion.Notice
}
