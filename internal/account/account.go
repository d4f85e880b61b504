// Package account is the contract for users and their tokens.
package account

import (
	"context"
	"errors"
	"time"

	"tonearm/internal/conversion"
)

// Errors of account stores and tokens.
var (
	// ErrNotFound: no such user.
	ErrNotFound = errors.New("account: not found")
	// ErrExists: the address has an account already.
	ErrExists = errors.New("account: exists")
	// ErrFull: the store has no room for more. What it has can still be read.
	ErrFull = errors.New("account: the store is full")
	// ErrCredentials: unknown address or wrong password; it does not say which.
	ErrCredentials = errors.New("account: wrong e-mail address or password")
	// ErrToken: a token that is malformed, expired, wrongly signed, of another
	// type or for somebody else.
	ErrToken = errors.New("account: token not valid")
	// ErrInvalid: an address or a password that cannot be accepted. The error
	// that wraps it gives the reason.
	ErrInvalid = errors.New("account: not acceptable")
	// ErrUsed: a proof that was used or has expired.
	ErrUsed = errors.New("account: used or expired")
	// ErrMails: this hour's mails to the recipient are owed already.
	ErrMails = errors.New("account: too many mails")
	// ErrUnproven: the address has to be proven first.
	ErrUnproven = errors.New("account: the address is not proven")
	// ErrBusy: passwords are costly, and too many of the same network wait.
	ErrBusy = errors.New("account: too many wait")
	// ErrKeys: the user has MaxKeys keys already.
	ErrKeys = errors.New("account: too many keys")
)

// DefaultMaxUploadBytes limits one video of a user who has no limit of their
// own.
const DefaultMaxUploadBytes = 100 << 30

// UnprovenConversions is how many conversions an account may make before its
// address is proven.
const UnprovenConversions = 3

// User is one account.
type User struct {
	ID             string // UUID
	Email          string // normalized
	MaxUploadBytes int64  // 0 for the service's default
	CreatedAt      time.Time

	// ConfirmedAt is when the present address began to count as proven; zero if
	// it does not yet. An account that an operator made, and one that is older
	// than this field, counts from the start.
	ConfirmedAt time.Time
	// ProvenAt is when a link that was mailed to the present address was used
	// last; zero for never.
	ProvenAt time.Time
	// Generation grows when all sessions end. A token names the generation that
	// it belongs to.
	Generation int64
	Language   Language    // of mails; '' for the default
	Mails      MailSetting // about outcomes; '' for each
	Admin      bool
	DeletedAt  time.Time // when the deletion was asked for; zero for never
	Limits     Limits    // those that an operator set; see Limits.Or
}

// Change is a change of an account that its conversions have to follow.
type Change struct {
	User User // as it is now
	At   time.Time
}

// Addressee is what the user's conversions keep of the account.
func (u User) Addressee() conversion.Addressee {
	return conversion.Addressee{Email: u.Email, Language: string(u.Language), Notify: notifyOf[u.Mails]}
}

// notifyOf is what a mail setting means for a conversion.
var notifyOf = map[MailSetting]conversion.NotifyPreference{MailFailures: conversion.NotifyFailures, MailNone: conversion.NotifyNone}

// Confirmed reports whether the address counts as proven.
func (u User) Confirmed() bool { return !u.ConfirmedAt.IsZero() }

// Deleted reports whether the account is being deleted. Nobody can log in then.
func (u User) Deleted() bool { return !u.DeletedAt.IsZero() }

// Language is the language of mails.
type Language string

// The languages.
const (
	English Language = "en" // the default
	German  Language = "de"
)

// MailSetting says about which outcomes an account gets mails.
type MailSetting string

// The mail settings.
const (
	MailEach     MailSetting = "each" // the default
	MailFailures MailSetting = "failures"
	MailNone     MailSetting = "none"
)

// NewUser is an account to be made.
type NewUser struct {
	Email, Password string
	MaxUploadBytes  int64 // 0 for the service's default
	Language        Language
	Admin           bool
}

// Users is the part of a store that finds users.
type Users interface {
	// ByID and ByEmail return ErrNotFound if there is no such user.
	ByID(ctx context.Context, id string) (User, error)
	ByEmail(ctx context.Context, email string) (User, error)
}

// Store keeps users, their keys, and what is owed to them.
//
// Methods that take a Signer owe a mail with a link. At most MailsPerHour such
// mails are owed to one mailbox in one hour of the clock, and as many that
// tell what the owner did, but none of these to an address that is not proven.
// Beyond that nothing is owed; a caller learns that only where it tells nobody
// who has an account.
//
// Methods that take a User change nothing, and return ErrToken, if the user's
// sessions have ended since the User was read: a request of a session may end
// long after it was found to be good.
//
// Methods that take a password compute its hash, a few at a time over all calls.
// The networks of their contexts take turns for that (FromNetwork). If too many
// of one network wait, they return ErrBusy.
type Store interface {
	Users
	// Create makes an account whose address counts as proven: an operator made
	// it. ErrInvalid, ErrExists.
	Create(ctx context.Context, email, password string, maxUploadBytes int64) (User, error)
	// Add is Create with all fields.
	Add(ctx context.Context, u NewUser) (User, error)
	// Register makes an account whose address is not proven, and owes the mail
	// that proves it. If the address has an account, nothing is made, and its
	// owner is owed a mail that says so. Both take the same work. ErrInvalid.
	Register(ctx context.Context, u NewUser, sign Signer) error
	// Authenticate returns the user, or ErrCredentials. It does the same work
	// whether the address is unknown, the password wrong or the account being
	// deleted.
	Authenticate(ctx context.Context, email, password string) (User, error)
	// CheckPassword is Authenticate for a known user.
	CheckPassword(ctx context.Context, userID, password string) error

	// RequestConfirmation owes the mail that proves the user's address;
	// ErrMails, ErrNotFound, and ErrUsed if it is confirmed.
	RequestConfirmation(ctx context.Context, userID string, sign Signer) error
	// RequestReset owes the mail with which the password can be set anew. It
	// does the same work for an address without an account; nothing is mailed
	// then.
	RequestReset(ctx context.Context, email string, sign Signer) error
	// RequestEmail owes a mail to a new address of the user, which proves it.
	// If the address has an account, that is what its owner is told instead.
	// ErrToken, ErrInvalid, ErrNotFound.
	RequestEmail(ctx context.Context, u User, email string, sign Signer) error

	// Confirm uses a proof of kind ProofConfirm. ErrUsed if that proof was used
	// or has expired.
	Confirm(ctx context.Context, p Proof) (User, error)
	// Reset uses a proof of kind ProofReset: it sets the password, proves the
	// address, ends all sessions and removes all keys, since who made the account
	// may be somebody else. It owes a mail that says so. ErrUsed, ErrInvalid.
	Reset(ctx context.Context, p Proof, password string) (User, error)
	// ChangeEmail uses a proof of kind ProofEmail: its address becomes the
	// user's. The old address is owed a mail that says so. Changed lists the user
	// then. ErrUsed, ErrExists.
	ChangeEmail(ctx context.Context, p Proof) (User, error)
	// ChangePassword sets a password, ends all sessions, and owes a mail that
	// says so. ErrToken, ErrInvalid, ErrNotFound.
	ChangePassword(ctx context.Context, u User, password string) (User, error)
	// CountConversion counts a conversion of a user whose address is not proven;
	// ErrUnproven if they had UnprovenConversions already. What was deleted
	// counts. It does nothing for others.
	CountConversion(ctx context.Context, userID string) error
	// LogOut ends all sessions of a user.
	LogOut(ctx context.Context, userID string) (User, error)
	// Configure changes language and mail setting; an empty one stays. Changed
	// lists the user then.
	Configure(ctx context.Context, userID string, language Language, mails MailSetting) (User, error)
	// Unsubscribe changes the mail setting by a link in a mail to email, and
	// nothing else; never to more mails. ErrNotFound if the user has another address by now.
	Unsubscribe(ctx context.Context, userID, email string, mails MailSetting) (User, error)
	// Changed returns some users whose address, language or mail setting changed,
	// until Followed, in the order of their ids, which are greater than after.
	Changed(ctx context.Context, after string, limit int) ([]Change, error)
	// Followed says that all conversions of the user have followed the change at
	// this time; a later one stays listed.
	Followed(ctx context.Context, userID string, at time.Time) error
	// SetAdmin gives or takes the rights of an operator. ErrUnproven: anybody may
	// have made an account with this address. ErrNotFound.
	SetAdmin(ctx context.Context, userID string, admin bool) error
	// SetLimits sets the user's own quotas. ErrInvalid, ErrNotFound.
	SetLimits(ctx context.Context, userID string, l Limits) error
	// SaveUsage keeps what a user's conversions of one day take, unless a later count
	// is kept.
	SaveUsage(ctx context.Context, u Usage) error
	// ClearUsage says that a user has nothing stored of the days that were not counted
	// since then.
	ClearUsage(ctx context.Context, userID string, since time.Time) error
	// Used returns what the users with ids from first to last take, as it was saved.
	// Whoever never made a conversion is left out.
	Used(ctx context.Context, first, last string, day time.Time) (map[string]Used, error)
	// UsedByAll returns what all users together take, as it was saved.
	UsedByAll(ctx context.Context, day time.Time) (UsedByAll, error)
	// Delete ends all sessions, removes all keys and refuses logins from now on.
	// The row stays until Remove. Deleting twice is the same as once. ErrToken.
	Delete(ctx context.Context, u User) (User, error)
	// Deleted returns some users whose deletion was asked for, in the order of
	// their ids, which are greater than after.
	Deleted(ctx context.Context, after string, limit int) ([]User, error)
	// Remove removes a deleted user for good.
	Remove(ctx context.Context, userID string) error
	// List returns some users in the order of their ids, which are greater than
	// after.
	List(ctx context.Context, f Filter, after string, limit int) ([]User, error)

	Keys
	Mails
	Auditor
	// Tidy removes what nobody needs any more: proofs that have expired, old
	// mails that are not owed, old lines of the audit log.
	Tidy(ctx context.Context, now time.Time) error
	Ping(ctx context.Context) error
	Close() error
}

// Filter chooses users; the zero value chooses all.
type Filter struct {
	Unproven bool // those that never used a link in a mail to their address
}

// Session is what an access token says.
type Session struct {
	UserID     string
	Generation int64
	PasswordAt time.Time // when the password was checked
	ExpiresAt  time.Time
}

// Tokens signs and checks tokens.
type Tokens interface {
	// Access returns a token that stands for the user in this generation.
	// passwordAt is when the password was checked.
	Access(u User, passwordAt time.Time) (token string, expiresAt time.Time, err error)
	// Download returns a token for the download of one MP3, without login.
	Download(mp3ID string) (token string, expiresAt time.Time, err error)
	// Unsubscribe returns a token for the link with which whoever reads the mails
	// to email chooses to get fewer.
	Unsubscribe(userID, email string) (token string, err error)
	// Proof returns a token for the link of a mail.
	Proof(p Proof) (token string, err error)
	// VerifyAccess returns what the token says; ErrToken. Whether the session
	// has ended since, the user's generation says.
	VerifyAccess(token string) (Session, error)
	// VerifyDownload returns the id of the MP3; ErrToken.
	VerifyDownload(token string) (mp3ID string, err error)
	// VerifyUnsubscribe returns whose mails the token is about, and the address
	// that they went to; ErrToken.
	VerifyUnsubscribe(token string) (userID, email string, err error)
	// VerifyProof returns what the token proves; ErrToken. Whether it was used
	// before, the store says.
	VerifyProof(kind ProofKind, token string) (Proof, error)
	// JWKS returns the public keys as a JSON Web Key Set.
	JWKS() []byte
}

// Limits on what people choose.
const (
	MaxEmailLength    = 254
	MinPasswordLength = 8
	MaxPasswordLength = 1024
)

// CheckPassword returns ErrInvalid with a reason if the password is too short,
// too long, or one of the most common ones.
func CheckPassword(s string) error {
	switch {
	case len(s) < MinPasswordLength:
		return invalid("the password is too short; use at least 8 characters")
	case len(s) > MaxPasswordLength:
		return invalid("the password is too long; use at most 1024 bytes")
	case common(s):
		return invalid("the password is one of the most common ones, which attackers try first; use another one")
	}
	return nil
}

type invalidError string

func invalid(reason string) error           { return invalidError(reason) }
func (e invalidError) Error() string        { return string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }
