package gateway

import (
	"cmp"
	"context"
	"html/template"
	"net/http"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// linkText is what the page behind a link of a mail says, in one language.
type linkText struct{ Title, Says, Password, Button, Done string }

var linkTexts = map[account.Language]map[account.ProofKind]linkText{
	account.English: {
		account.ProofConfirm: {"Confirm your address", "Enter the password that you chose for your account. If you did not make an account, close this page.", "Password", "Confirm",
			"Your address is confirmed. You can close this page."},
		account.ProofReset: {"Set a new password", "All sessions end, and all API keys are removed.", "New password, at least 8 characters", "Set password",
			"Your password is set. Log in with it."},
		account.ProofEmail: {"Confirm your new address", "Your account gets this address.", "", "Confirm", "Your address is changed. Log in with it from now on."},
	},
	account.German: {
		account.ProofConfirm: {"Adresse bestätigen", "Geben Sie das Passwort ein, das Sie für Ihr Konto gewählt haben. Haben Sie kein Konto angelegt, schließen Sie diese Seite.", "Passwort", "Bestätigen",
			"Ihre Adresse ist bestätigt. Sie können diese Seite schließen."},
		account.ProofReset: {"Neues Passwort setzen", "Alle Sitzungen enden, und alle API-Schlüssel werden entfernt.", "Neues Passwort, mindestens 8 Zeichen", "Passwort setzen",
			"Ihr Passwort ist gesetzt. Melden Sie sich damit an."},
		account.ProofEmail: {"Neue Adresse bestätigen", "Ihr Konto bekommt diese Adresse.", "", "Bestätigen", "Ihre Adresse ist geändert. Melden Sie sich ab jetzt damit an."},
	},
}

type linkPage struct {
	linkText
	Language account.Language
	Kind     account.ProofKind
	Token    string
	Over     bool // the link was used
}

// linkTemplate posts to its own address without the query, so that the token is
// used by a person's click alone: programs that look through mails open links.
var linkTemplate = template.Must(template.New("link").Parse(`<!doctype html>
<html lang="{{.Language}}"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tonearm: {{.Title}}</title>
<h1>{{.Title}}</h1>
{{if .Over}}<p>{{.Done}}</p>
{{else}}<p>{{.Says}}</p>
<form method="post" action="{{.Kind}}">
<input type="hidden" name="token" value="{{.Token}}"><input type="hidden" name="lang" value="{{.Language}}">
{{with .Password}}<p><label>{{.}}<br><input type="password" name="password" required minlength="8" maxlength="1024" autofocus></label></p>
{{end}}<p><button>{{.Button}}</button></p>
</form>
{{end}}`))

// linkPageOf finds the page behind a link; the path names what it is for.
func linkPageOf(r *http.Request) (linkPage, error) {
	p := linkPage{Language: account.Language(cmp.Or(r.FormValue("lang"), string(account.English))), Kind: account.ProofKind(r.PathValue("kind")), Token: r.FormValue("token")}
	if linkTexts[p.Language] == nil {
		p.Language = account.English
	}
	text, ok := linkTexts[p.Language][p.Kind]
	if !ok {
		return p, refuse(http.StatusNotFound, "no_such_path", "There is no such page.")
	}
	p.linkText = text
	return p, nil
}

func (p linkPage) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return linkTemplate.Execute(w, p)
}

// linkOpened shows the page behind the link of a mail. It changes nothing.
func (g *Gateway) linkOpened(w http.ResponseWriter, r *http.Request) error {
	p, err := linkPageOf(r)
	if err != nil {
		return err
	}
	return p.write(w)
}

// linkUsed does what the link is for.
func (g *Gateway) linkUsed(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, g.o.MaxBodyBytes)
	if err := r.ParseForm(); err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", "The form could not be read.")
	}
	p, err := linkPageOf(r)
	if err != nil {
		return err
	}
	from := network(r.RemoteAddr)
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), remoteKey{}, from), hashing)
	defer cancel()
	in := &linkInput{api.Link{Token: p.Token, Password: r.FormValue("password")}}
	switch p.Kind {
	case account.ProofConfirm:
		_, err = g.confirm(ctx, caller{network: from}, in)
	case account.ProofReset:
		_, err = g.setPassword(ctx, in)
	case account.ProofEmail:
		_, err = g.setEmail(ctx, in)
	}
	if err != nil {
		return err
	}
	p.Over = true
	return p.write(w)
}
