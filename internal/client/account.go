package client

import (
	"context"
	"net/http"
	"net/url"

	"tonearm/internal/api"
)

// Me returns the account, its limits and its use.
func (c *Client) Me(ctx context.Context) (api.Me, error) {
	var me api.Me
	err := c.call(ctx, http.MethodGet, "/v1/me", request{out: &me})
	return me, err
}

// ChangeMe changes the settings of the account.
func (c *Client) ChangeMe(ctx context.Context, change api.MeChange) (api.Me, error) {
	var me api.Me
	err := c.call(ctx, http.MethodPatch, "/v1/me", request{in: change, out: &me})
	return me, err
}

// ChangePassword ends all sessions and returns the token of a new one.
func (c *Client) ChangePassword(ctx context.Context, change api.PasswordChange) (api.Token, error) {
	var t api.Token
	err := c.once(ctx, http.MethodPut, "/v1/me/password", request{in: change, out: &t})
	return t, err
}

// ChangeEmail asks for a mail to a new address.
func (c *Client) ChangeEmail(ctx context.Context, change api.EmailChange) (api.Accepted, error) {
	return c.accepted(ctx, http.MethodPut, "/v1/me/email", change)
}

// DeleteMe deletes the account.
func (c *Client) DeleteMe(ctx context.Context, password string) (api.Deletion, error) {
	var d api.Deletion
	err := c.once(ctx, http.MethodDelete, "/v1/me", request{in: api.Password{Password: password}, out: &d})
	return d, err
}

// RequestConfirmation asks for the mail that proves the address.
func (c *Client) RequestConfirmation(ctx context.Context) (api.Accepted, error) {
	return c.accepted(ctx, http.MethodPost, "/v1/me/confirmation", nil)
}

// Confirm proves the address by the token of a link.
func (c *Client) Confirm(ctx context.Context, link api.Link) (api.Accepted, error) {
	return c.accepted(ctx, http.MethodPost, "/v1/users/confirm", link)
}

// RequestReset asks for the mail that sets the password anew.
func (c *Client) RequestReset(ctx context.Context, email string) (api.Accepted, error) {
	return c.accepted(ctx, http.MethodPost, "/v1/users/reset", api.EmailOnly{Email: email})
}

func (c *Client) accepted(ctx context.Context, method, path string, in any) (api.Accepted, error) {
	var a api.Accepted
	err := c.once(ctx, method, path, request{in: in, out: &a})
	return a, err
}

// LogOutEverywhere ends all sessions of the account.
func (c *Client) LogOutEverywhere(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/v1/sessions", request{})
}

// CreateKey makes an API key. It is not repeated: a lost answer holds the only
// copy of the secret.
func (c *Client) CreateKey(ctx context.Context, k api.NewKey) (api.MadeKey, error) {
	var made api.MadeKey
	err := c.once(ctx, http.MethodPost, "/v1/keys", request{in: k, out: &made})
	return made, err
}

// Keys lists the API keys of the account.
func (c *Client) Keys(ctx context.Context) ([]api.Key, error) {
	var keys api.Keys
	err := c.call(ctx, http.MethodGet, "/v1/keys", request{out: &keys})
	return keys.Keys, err
}

// RevokeKey removes an API key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), request{})
}
