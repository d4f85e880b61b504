package api

import (
	"time"

	"tonearm/internal/account"
)

// NewUser is the body of POST /v1/users.
type NewUser struct {
	Email    string           `json:"email" maxLength:"254" doc:"E-mail address. You log in with it, and results are mailed to it"`
	Password string           `json:"password" minLength:"8" maxLength:"1024"`
	Language account.Language `json:"language,omitempty" enum:"en,de" doc:"Language of mails. Default: en"`
}

// User answers POST /v1/users. Where a mail has to prove the address first,
// there is no id: the answer is the same whether the address has an account or
// not.
type User struct {
	ID        string    `json:"id,omitempty"`
	Email     string    `json:"email"`
	CreatedAt time.Time `json:"created_at"`
	Confirmed bool      `json:"confirmed" doc:"Whether the account counts at once. If not, follow the link in the mail"`
}

// Token answers POST /login where JSON was asked for, and other calls that begin
// a session.
type Token struct {
	AccessToken string `json:"access_token,omitempty" doc:"Missing if the session is a cookie"`
	TokenType   string `json:"token_type"` // Bearer
	ExpiresIn   int    `json:"expires_in" doc:"Seconds"`
}

// Credentials are the body of POST /v1/session.
type Credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// Me answers GET /v1/me.
type Me struct {
	ID               string              `json:"id"`
	Email            string              `json:"email"`
	Confirmed        bool                `json:"confirmed" doc:"Whether the address counts as proven"`
	Language         account.Language    `json:"language" enum:"en,de"`
	Mails            account.MailSetting `json:"mails" enum:"each,failures,none" doc:"About which outcomes you get mails"`
	Admin            bool                `json:"admin,omitempty"`
	CreatedAt        time.Time           `json:"created_at"`
	MaxUploadBytes   int64               `json:"max_upload_bytes" doc:"Largest video"`
	MaxConversions   int                 `json:"max_conversions,omitempty" doc:"Conversions that you may make until your address is proven; missing for no limit"`
	Active           int                 `json:"active" doc:"Conversions that have not ended, counted up to 1000"`
	Usage            []Usage             `json:"usage" doc:"How much you take, and what you may. A day begins at midnight UTC and counts what you began on it"`
	OpenRegistration bool                `json:"open_registration" doc:"Whether anybody may make an account here"`
	Key              *Key                `json:"key,omitempty" doc:"The API key of this request"`
}

// Usage is how much of one quota a user takes.
type Usage struct {
	Name  account.Quota `json:"name" enum:"open_uploads,queued_conversions,stored_bytes,daily_bytes,daily_sound_seconds,waiters,gateway_uploads" doc:"As in the limit of a refusal"`
	Used  int64         `json:"used"`
	Limit int64         `json:"limit,omitempty" doc:"Missing for no limit"`
}

// MeChange is the body of PATCH /v1/me. What is missing stays.
type MeChange struct {
	Language account.Language    `json:"language,omitempty" enum:"en,de"`
	Mails    account.MailSetting `json:"mails,omitempty" enum:"each,failures,none"`
}

// PasswordChange is the body of PUT /v1/me/password.
type PasswordChange struct {
	Password    string `json:"password" doc:"The present one"`
	NewPassword string `json:"new_password" minLength:"8" maxLength:"1024"`
}

// EmailChange is the body of PUT /v1/me/email.
type EmailChange struct {
	Password string `json:"password" doc:"The present one"`
	Email    string `json:"email" maxLength:"254" doc:"The new address. A mail to it proves it"`
}

// Password is the body of DELETE /v1/me.
type Password struct {
	Password string `json:"password" doc:"The present one"`
}

// Deletion answers DELETE /v1/me.
type Deletion struct {
	Until time.Time `json:"until" doc:"When all is gone that has no later time of its own"`
	What  []string  `json:"what" doc:"What goes, in words"`
}

// EmailOnly is the body of POST /v1/users/reset.
type EmailOnly struct {
	Email string `json:"email" maxLength:"254"`
}

// Accepted answers requests whose result comes by mail.
type Accepted struct {
	Detail string `json:"detail"`
}

// Link is the body of requests with the token of a link in a mail.
type Link struct {
	Token    string `json:"token" maxLength:"4096"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"To confirm an address: the account's password, unless you are logged in. To set a password anew: the new one"`
}

// NewKey is the body of POST /v1/keys.
type NewKey struct {
	Password      string          `json:"password" doc:"The present one of the account"`
	Name          string          `json:"name" minLength:"1" maxLength:"100"`
	Scopes        []account.Scope `json:"scopes" minItems:"1" enum:"read,convert,admin" doc:"What the key may be used for. convert includes read"`
	ExpiresInDays int             `json:"expires_in_days,omitempty" minimum:"-1" maximum:"3650" doc:"Default: 365. -1 for a key that does not expire"`
}

// Key is an API key without its secret.
type Key struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Scopes     []account.Scope `json:"scopes" enum:"read,convert,admin"`
	CreatedAt  time.Time       `json:"created_at"`
	ExpiresAt  *time.Time      `json:"expires_at,omitempty" doc:"Missing if it does not expire"`
	LastUsedAt *time.Time      `json:"last_used_at,omitempty" doc:"To the minute"`
}

// MadeKey answers POST /v1/keys.
type MadeKey struct {
	Key
	Secret string `json:"secret" doc:"Send it wherever a token is accepted. It is shown this once"`
}

// Keys answers GET /v1/keys.
type Keys struct {
	Keys []Key `json:"keys"`
}

// Events answers GET /v1/admin/audit, the latest first.
type Events struct {
	Events []Event `json:"events"`
}

// Event is a line of the audit log.
type Event struct {
	At      time.Time      `json:"at"`
	Action  account.Action `json:"action"`
	UserID  string         `json:"user_id,omitempty"`
	KeyID   string         `json:"key_id,omitempty"`
	Subject string         `json:"subject,omitempty" doc:"What it was done to"`
	Outcome string         `json:"outcome" doc:"ok, or the code of the refusal"`
	Network string         `json:"network,omitempty" doc:"Where the request came from"`
}
