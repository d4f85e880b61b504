package account

import (
	"context"
	"time"
)

// Action is what a line of the audit log tells.
type Action string

// The actions.
const (
	ActionRegister   Action = "register"
	ActionConfirm    Action = "confirm"
	ActionLogin      Action = "login"
	ActionLogout     Action = "logout_everywhere"
	ActionReset      Action = "reset_password"
	ActionPassword   Action = "change_password"
	ActionEmail      Action = "change_email"
	ActionDelete     Action = "delete_account"
	ActionKeyMade    Action = "make_key"
	ActionKeyRevoked Action = "revoke_key"
	ActionAdmin      Action = "set_admin"
	ActionLimits     Action = "set_limit"
	ActionRemove     Action = "delete_conversion"
	ActionRefused    Action = "refused" // a request without the right to it
)

// Event is a line of the audit log. It holds no secret and no address.
type Event struct {
	At      time.Time
	Action  Action
	UserID  string // who did it; '' if unknown
	KeyID   string // with which key; '' for none
	Subject string // what it was done to: an id or a route
	Outcome string // ok, or the code of the refusal
	Network string // where the request came from
}

// AuditLife is how long lines of the audit log are kept.
const AuditLife = 180 * 24 * time.Hour

// Auditor is the part of a store with the audit log.
type Auditor interface {
	// Audit adds a line.
	Audit(ctx context.Context, e Event) error
	// Events returns the latest lines, the latest first; userID '' for all.
	Events(ctx context.Context, userID string, limit int) ([]Event, error)
}
