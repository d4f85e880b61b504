package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/queue"
)

// login exchanges an address and a password for a token. The answer is plain
// text, so that TOKEN=$(curl -u EMAIL -X POST …/login) works, or JSON if the
// request asks for it.
func (g *Gateway) login(w http.ResponseWriter, r *http.Request) error {
	user, err := g.basic(r)
	if err != nil {
		return err
	}
	token, err := g.token(user, g.o.Now())
	if err != nil {
		return err
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(token) //nolint:gosec // giving the token is what login is for
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, token.AccessToken) //nolint:gosec // plain text, and nothing of it is the client's
	return nil
}

// token returns a token of a user whose password was checked at this time.
func (g *Gateway) token(user account.User, passwordAt time.Time) (api.Token, error) {
	token, expires, err := g.o.Tokens.Access(user, passwordAt)
	return api.Token{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(expires.Sub(g.o.Now()).Seconds())}, err
}

type userInput struct{ Body api.NewUser }

type userOutput struct {
	Status int
	Body   api.User
}

// acceptedOutput is the same for everybody: what it is about comes by mail.
type acceptedOutput struct{ Body api.Accepted }

func (g *Gateway) register(ctx context.Context, in *userInput) (*userOutput, error) {
	if !g.o.OpenRegistration {
		return nil, refuse(http.StatusForbidden, "registration_closed",
			"You cannot make an account yourself on this server. Ask its operator to run: tonearm user add EMAIL.")
	}
	if g.o.SelfConfirm && !g.ownName(host(ctx)) {
		return nil, refuse(http.StatusForbidden, "registration_closed",
			"On this server nobody proves an address, so accounts can be made only at "+g.o.PublicURL+".")
	}
	if err := g.slowly(ctx); err != nil {
		return nil, err
	}
	n := account.NewUser{Email: in.Body.Email, Password: in.Body.Password, Language: in.Body.Language}
	if g.o.SelfConfirm {
		u, err := g.o.Users.Add(ctx, n)
		if err != nil {
			return nil, err
		}
		g.audit(ctx, caller{User: u, network: account.Network(ctx)}, account.ActionRegister, "", audited)
		return &userOutput{Status: http.StatusCreated, Body: api.User{ID: u.ID, Email: u.Email, CreatedAt: u.CreatedAt, Confirmed: true}}, nil
	}
	if err := g.o.Users.Register(ctx, n, g.o.Tokens.Proof); err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, caller{network: account.Network(ctx)}, account.ActionRegister, "", audited)
	email, _ := account.NormalizeEmail(in.Body.Email) // Register has accepted it
	return &userOutput{Status: http.StatusAccepted, Body: api.User{Email: email, CreatedAt: g.o.Now().UTC().Truncate(time.Second)}}, nil
}

// ownName reports whether a request was sent to this machine or to the public
// URL. Under another name it came through a proxy that nobody spoke of, or from a
// page in this machine's browser whose server's name leads here by now (DNS
// rebinding); that page would be of the same origin.
func (g *Gateway) ownName(host string) bool {
	public, err := url.Parse(g.o.PublicURL)
	if name, _, split := net.SplitHostPort(host); split == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() || err == nil && strings.EqualFold(host, public.Hostname())
}

// mailsAreOwed wakes the notifiers. If that fails, they see it themselves.
func (g *Gateway) mailsAreOwed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := g.o.Queue.Announce(ctx, queue.TopicMails); err != nil {
		g.outage.Warn("could not wake the notifiers; they find the mail later", "error", err)
	}
}

type emailInput struct{ Body api.EmailOnly }

// requestReset mails a link to set the password anew, if the address has an
// account. The answer and its time are the same if not.
func (g *Gateway) requestReset(ctx context.Context, in *emailInput) (*acceptedOutput, error) {
	if err := g.slowly(ctx); err != nil {
		return nil, err
	}
	if err := g.o.Users.RequestReset(ctx, in.Body.Email, g.o.Tokens.Proof); err != nil {
		return nil, err
	}
	g.mailsAreOwed(ctx)
	return &acceptedOutput{api.Accepted{Detail: "If this address has an account, a mail with a link is on its way."}}, nil
}

type linkInput struct{ Body api.Link }

// confirm proves the address of an account. The link alone is not enough: it
// would open the account of whoever registered somebody else's address
// and waits for its owner to click. So whoever confirms also knows the password
// or is logged in.
func (g *Gateway) confirm(ctx context.Context, c caller, in *linkInput) (*acceptedOutput, error) {
	p, err := g.proof(account.ProofConfirm, in.Body.Token)
	if err != nil {
		return nil, err
	}
	if err := g.isOwner(ctx, c, p, in.Body.Password, account.ActionConfirm); err != nil {
		return nil, err
	}
	u, err := g.o.Users.Confirm(ctx, p)
	if err != nil {
		return nil, used(err)
	}
	g.audit(ctx, caller{User: u, network: c.network}, account.ActionConfirm, "", audited)
	return &acceptedOutput{api.Accepted{Detail: "Your address is confirmed."}}, nil
}

// isOwner returns nil if whoever uses the link of a mail is logged in to its
// account, or knows its password.
func (g *Gateway) isOwner(ctx context.Context, c caller, p account.Proof, password string, action account.Action) error {
	if c.ID == p.UserID {
		return nil
	}
	if password == "" {
		return refuse(http.StatusForbidden, "password_needed", "To confirm your address, also send the password of your account, or log in first.")
	}
	u, err := g.o.Users.ByID(ctx, p.UserID)
	if errors.Is(err, account.ErrNotFound) {
		return used(account.ErrUsed)
	}
	if err != nil {
		return err
	}
	who := caller{User: u, network: c.network}
	if err = g.checkPassword(ctx, who, password); err != nil {
		g.audit(ctx, who, action, "", problemOf(err).Code)
	}
	return err
}

// setPassword sets a password anew, by the link of a mail.
func (g *Gateway) setPassword(ctx context.Context, in *linkInput) (*acceptedOutput, error) {
	p, err := g.proof(account.ProofReset, in.Body.Token)
	if err != nil {
		return nil, err
	}
	u, err := g.o.Users.Reset(ctx, p, in.Body.Password)
	if err != nil {
		return nil, used(err)
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, caller{User: u, network: account.Network(ctx)}, account.ActionReset, "", audited)
	g.known(ctx, u.Email, account.Network(ctx)) // so that nobody else keeps the owner from logging in
	return &acceptedOutput{api.Accepted{Detail: "Your password is set. All sessions have ended and all API keys are removed. Log in with the new password."}}, nil
}

// setEmail makes a new address the account's, by the link of a mail to it. As
// for confirm, the link alone is not enough: whoever registered it would get the inbox of
// an address whose owner clicks.
func (g *Gateway) setEmail(ctx context.Context, c caller, in *linkInput) (*acceptedOutput, error) {
	p, err := g.proof(account.ProofEmail, in.Body.Token)
	if err != nil {
		return nil, err
	}
	if err := g.isOwner(ctx, c, p, in.Body.Password, account.ActionEmail); err != nil {
		return nil, err
	}
	u, err := g.o.Users.ChangeEmail(ctx, p)
	if err != nil {
		return nil, used(err)
	}
	g.mailsAreOwed(ctx)
	g.audit(ctx, caller{User: u, network: c.network}, account.ActionEmail, "", audited)
	return &acceptedOutput{api.Accepted{Detail: "Your address is changed. Log in with the new one from now on."}}, nil
}

func (g *Gateway) proof(kind account.ProofKind, token string) (account.Proof, error) {
	p, err := g.o.Tokens.VerifyProof(kind, token)
	if err != nil {
		return p, used(account.ErrUsed)
	}
	return p, nil
}

// used says that a link is no longer good.
func used(err error) error {
	if errors.Is(err, account.ErrUsed) {
		return refuse(http.StatusForbidden, "link_invalid", "This link was used before, or it has expired, or part of it is missing. Ask for another one.")
	}
	return err
}
