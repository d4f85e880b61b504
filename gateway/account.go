package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"tonearm/internal/api"
)

// login exchanges an address and a password for a token. The answer is plain
// text, so that TOKEN=$(curl -u EMAIL -X POST …/login) works, or JSON if the
// request asks for it.
func (g *Gateway) login(w http.ResponseWriter, r *http.Request) error {
	user, err := g.basic(r)
	if err != nil {
		return err
	}
	token, expires, err := g.o.Tokens.Access(user, g.o.Now())
	if err != nil {
		return err
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(api.Token{ //nolint:gosec // giving the token is what login is for
			AccessToken: token, TokenType: "Bearer", ExpiresIn: int(expires.Sub(g.o.Now()).Seconds()),
		})
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, token) //nolint:gosec // plain text, and nothing of it is the client's
	return nil
}

type userInput struct{ Body api.NewUser }

type userOutput struct{ Body api.User }

func (g *Gateway) register(ctx context.Context, in *userInput) (*userOutput, error) {
	if !g.o.OpenRegistration {
		return nil, refuse(http.StatusForbidden, "registration_closed",
			"You cannot make an account yourself on this server. Ask its operator to run: tonearm user add EMAIL.")
	}
	u, err := g.o.Users.Create(ctx, in.Body.Email, in.Body.Password, 0)
	if err != nil {
		return nil, err
	}
	return &userOutput{Body: api.User{ID: u.ID, Email: u.Email, CreatedAt: u.CreatedAt}}, nil
}
