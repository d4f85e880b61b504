package gateway

import (
	"cmp"
	"context"
	"errors"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

func describeKey(k account.Key) api.Key {
	out := api.Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CreatedAt: k.CreatedAt}
	if !k.ExpiresAt.IsZero() {
		out.ExpiresAt = new(k.ExpiresAt)
	}
	if !k.LastUsedAt.IsZero() {
		out.LastUsedAt = new(k.LastUsedAt)
	}
	return out
}

type keyInput struct{ Body api.NewKey }

type madeKeyOutput struct{ Body api.MadeKey }

type keysOutput struct{ Body api.Keys }

type keyIDInput struct {
	ID string `path:"key_id" doc:"ID of the key"`
}

// createKey asks for the password again: a key outlives the session, so a token
// that was stolen must not make one.
func (g *Gateway) createKey(ctx context.Context, c caller, in *keyInput) (*madeKeyOutput, error) {
	if err := g.checkPassword(ctx, c, in.Body.Password); err != nil {
		g.audit(ctx, c, account.ActionKeyMade, "", problemOf(err).Code)
		return nil, err
	}
	for _, s := range in.Body.Scopes {
		if s == account.ScopeAdmin && !c.Admin {
			g.audit(ctx, c, account.ActionKeyMade, "", "admin_required")
			return nil, c.may(account.ScopeAdmin)
		}
	}
	k := account.Key{Name: in.Body.Name, Scopes: in.Body.Scopes}
	if days := in.Body.ExpiresInDays; days >= 0 {
		k.ExpiresAt = g.o.Now().Add(cmp.Or(time.Duration(days)*24*time.Hour, account.DefaultKeyAge))
	}
	made, secret, err := g.o.Users.CreateKey(ctx, c.User, k)
	if err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, c, account.ActionKeyMade, made.ID, audited)
	return &madeKeyOutput{api.MadeKey{Key: describeKey(made), Secret: secret}}, nil
}

func (g *Gateway) listKeys(ctx context.Context, c caller, _ *struct{}) (*keysOutput, error) {
	keys, err := g.o.Users.KeysOf(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{api.Keys{Keys: []api.Key{}}}
	for _, k := range keys {
		out.Body.Keys = append(out.Body.Keys, describeKey(k))
	}
	return out, nil
}

func (g *Gateway) revokeKey(ctx context.Context, c caller, in *keyIDInput) (*struct{}, error) {
	if err := g.o.Users.RevokeKey(ctx, c.ID, in.ID); err != nil {
		return nil, err
	}
	g.audit(ctx, c, account.ActionKeyRevoked, in.ID, audited)
	return nil, nil
}

type auditInput struct {
	User  string `query:"user" doc:"ID of the user; all if missing"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type eventsOutput struct{ Body api.Events }

// events shows the audit log to an operator.
func (g *Gateway) events(ctx context.Context, _ caller, in *auditInput) (*eventsOutput, error) {
	events, err := g.o.Users.Events(ctx, in.User, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{api.Events{Events: []api.Event{}}}
	for _, e := range events {
		out.Body.Events = append(out.Body.Events, api.Event(e))
	}
	return out, nil
}

// count refuses a further conversion of an account whose address is not proven.
// key is the Idempotency-Key: a request that came before does not count again.
func (g *Gateway) count(ctx context.Context, u account.User, key string) error {
	if u.Confirmed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	if key != "" {
		_, err := g.o.Records.ByIdempotencyKey(ctx, u.ID, key)
		if !errors.Is(err, conversion.ErrNotFound) {
			return err
		}
	}
	return g.o.Users.CountConversion(ctx, u.ID)
}

// mailed is about which outcomes a new conversion of the user is mailed: never
// to an address that is not proven, and else what the request wants, or what
// the account says.
func mailed(u account.User, wanted conversion.NotifyPreference) conversion.NotifyPreference {
	switch {
	case !u.Confirmed():
		return conversion.NotifyNone
	case wanted != "":
		return wanted
	}
	return u.Addressee().Notify
}
