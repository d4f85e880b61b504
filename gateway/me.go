package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

const (
	// refreshFor is how long after the password a session can be renewed.
	refreshFor = 30 * 24 * time.Hour
	// goneAfter is when the last of a deleted account has gone: a tombstone of a
	// conversion stays for 8 days.
	goneAfter = 9 * 24 * time.Hour
	// mostActive is how far conversions are counted.
	mostActive = 1000
)

type meOutput struct{ Body api.Me }

// active are the states of conversions that have not ended.
var active = []conversion.State{conversion.AwaitingUpload, conversion.Queued, conversion.Running}

func (g *Gateway) me(ctx context.Context, c caller, _ *struct{}) (*meOutput, error) {
	list, err := g.o.Records.List(ctx, conversion.Query{OwnerID: c.ID, States: active, Limit: mostActive})
	if err != nil {
		return nil, err
	}
	use, err := g.usage(ctx, c.User)
	if err != nil {
		return nil, err
	}
	out := &meOutput{Body: api.Me{
		ID: c.ID, Email: c.Email, Confirmed: c.Confirmed(), CreatedAt: c.CreatedAt, Admin: c.Admin,
		Language: cmp.Or(c.Language, account.English), Mails: cmp.Or(c.Mails, account.MailEach),
		MaxUploadBytes: g.limit(c.User), Active: len(list), Usage: use, OpenRegistration: g.o.OpenRegistration,
	}}
	if !c.Confirmed() {
		out.Body.MaxConversions = account.UnprovenConversions
	}
	if c.key != nil {
		out.Body.Key = new(describeKey(*c.key))
	}
	return out, nil
}

type meInput struct{ Body api.MeChange }

func (g *Gateway) changeMe(ctx context.Context, c caller, in *meInput) (*meOutput, error) {
	u, err := g.o.Users.Configure(ctx, c.ID, in.Body.Language, in.Body.Mails)
	if err != nil {
		return nil, err
	}
	c.User = u
	return g.me(ctx, c, nil)
}

type passwordInput struct{ Body api.PasswordChange }

// changePassword ends all sessions and begins one anew.
func (g *Gateway) changePassword(ctx context.Context, c caller, in *passwordInput) (*sessionOutput, error) {
	if err := g.checkPassword(ctx, c, in.Body.Password); err != nil {
		g.audit(ctx, c, account.ActionPassword, "", problemOf(err).Code)
		return nil, err
	}
	u, err := g.o.Users.ChangePassword(ctx, c.User, in.Body.NewPassword)
	if err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, c, account.ActionPassword, "", audited)
	return g.session(u, g.o.Now(), c.cookie)
}

type newEmailInput struct{ Body api.EmailChange }

func (g *Gateway) requestEmail(ctx context.Context, c caller, in *newEmailInput) (*acceptedOutput, error) {
	if err := g.slowly(ctx); err != nil {
		return nil, err
	}
	if err := g.checkPassword(ctx, c, in.Body.Password); err != nil {
		g.audit(ctx, c, account.ActionEmail, "", problemOf(err).Code)
		return nil, err
	}
	if err := g.o.Users.RequestEmail(ctx, c.User, in.Body.Email, g.o.Tokens.Proof); err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	return &acceptedOutput{api.Accepted{Detail: "A mail is on its way to the new address. Follow its link. Until then, nothing changes."}}, nil
}

// requestConfirmation mails the link again that proves the address.
func (g *Gateway) requestConfirmation(ctx context.Context, c caller, _ *struct{}) (*acceptedOutput, error) {
	if err := g.slowly(ctx); err != nil {
		return nil, err
	}
	err := g.o.Users.RequestConfirmation(ctx, c.ID, g.o.Tokens.Proof)
	if errors.Is(err, account.ErrUsed) {
		return nil, conflict("Your address is confirmed already.")
	}
	if err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	return &acceptedOutput{api.Accepted{Detail: "A mail with a link is on its way."}}, nil
}

type deletionInput struct{ Body api.Password }

type deletionOutput struct{ Body api.Deletion }

// deleteMe refuses the account from now on. The dispatcher removes what belongs
// to it.
func (g *Gateway) deleteMe(ctx context.Context, c caller, in *deletionInput) (*deletionOutput, error) {
	if err := g.checkPassword(ctx, c, in.Body.Password); err != nil {
		g.audit(ctx, c, account.ActionDelete, "", problemOf(err).Code)
		return nil, err
	}
	u, err := g.o.Users.Delete(ctx, c.User)
	if err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, c, account.ActionDelete, "", audited)
	return &deletionOutput{api.Deletion{Until: u.DeletedAt.Add(goneAfter), What: []string{
		"your login, sessions and API keys: now",
		"your conversions, with their videos and MP3s, also those in your inbox: within an hour",
		"this account's row: a day later",
		"hidden records of your conversions, which name your address and your files: by the time in until",
		"the lines of the audit log about this account, which name its ID and no address: 180 days after each",
	}}}, nil
}

type endOutput struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

// logOutEverywhere ends all sessions of the account.
func (g *Gateway) logOutEverywhere(ctx context.Context, c caller, _ *struct{}) (*endOutput, error) {
	if _, err := g.o.Users.LogOut(ctx, c.ID); err != nil {
		return nil, err
	}
	g.audit(ctx, c, account.ActionLogout, "", audited)
	return g.end(), nil
}
