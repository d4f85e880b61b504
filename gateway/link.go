package gateway

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"net/http"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// linkText is what the page behind a link of a mail says, in one language.
type linkText struct{ Title, Says, Password, Button, Done string }

// unsubscribe is the path of a page that no proof is for.
const unsubscribe account.ProofKind = "unsubscribe"

// failuresOnly is the second button of that page.
var failuresOnly = map[account.Language]string{account.English: "Only about failures", account.German: "Nur über Fehlschläge"}

var linkTexts = map[account.Language]map[account.ProofKind]linkText{
	account.English: {
		account.ProofConfirm: {"Confirm your address", "Enter the password that you chose for your account. If you did not make an account, close this page.", "Password", "Confirm",
			"Your address is confirmed. You can close this page."},
		account.ProofReset: {"Set a new password", "All sessions end, and all API keys are removed.", "New password, at least 8 characters", "Set password",
			"Your password is set. Log in with it."},
		account.ProofEmail: {"Confirm your new address", "Your account gets this address. Enter its password. If you did not ask for this, close this page.", "Password", "Confirm", "Your address is changed. Log in with it from now on."},
		unsubscribe: {"Get fewer mails", "You choose about which conversions you get mails. Conversions that ask for a mail themselves send it in any case. Mails about your account itself are not changed.", "", "No mails about conversions",
			"Done. To change it again: tonearm account mails."},
	},
	account.German: {
		account.ProofConfirm: {"Adresse bestätigen", "Geben Sie das Passwort ein, das Sie für Ihr Konto gewählt haben. Haben Sie kein Konto angelegt, schließen Sie diese Seite.", "Passwort", "Bestätigen",
			"Ihre Adresse ist bestätigt. Sie können diese Seite schließen."},
		account.ProofReset: {"Neues Passwort setzen", "Alle Sitzungen enden, und alle API-Schlüssel werden entfernt.", "Neues Passwort, mindestens 8 Zeichen", "Passwort setzen",
			"Ihr Passwort ist gesetzt. Melden Sie sich damit an."},
		account.ProofEmail: {"Neue Adresse bestätigen", "Ihr Konto bekommt diese Adresse. Geben Sie sein Passwort ein. Haben Sie das nicht gewünscht, schließen Sie diese Seite.", "Passwort", "Bestätigen", "Ihre Adresse ist geändert. Melden Sie sich ab jetzt damit an."},
		unsubscribe: {"Weniger Mails", "Sie wählen, über welche Umwandlungen Sie Mails bekommen. Eine Umwandlung, die selbst eine Mail verlangt, schickt sie in jedem Fall. Mails über Ihr Konto selbst sind davon nicht betroffen.", "", "Keine Mails über Umwandlungen",
			"Erledigt. Wieder ändern: tonearm account mails."},
	},
}

type linkPage struct {
	linkText
	Language account.Language
	Kind     account.ProofKind
	Token    string
	Failures string // of a second button
	Over     bool   // the link was used
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
{{with .Failures}}<p><button name="mails" value="failures">{{.}}</button></p>
{{end}}</form>
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
	if p.Kind == unsubscribe {
		p.Failures = failuresOnly[p.Language]
	}
	return p, nil
}

func (p linkPage) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// With no-referrer, a browser hides where a form comes from. Without https it
	// says nothing else about that, and the form would be refused.
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Content-Security-Policy", policy("'self'"))
	return linkTemplate.Execute(w, p)
}

// linkOpened shows the page behind the link of a mail. It changes nothing.
func (g *Gateway) linkOpened(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.NoBody // a form in it would be kept on disk, whatever its size
	p, err := linkPageOf(r)
	if err != nil {
		return err
	}
	return p.write(w)
}

// linkUsed does what the link is for.
func (g *Gateway) linkUsed(w http.ResponseWriter, r *http.Request) error {
	if err := g.readBody(w, r); err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", "The form could not be read.")
	}
	p, err := linkPageOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), hashing)
	defer cancel()
	nobody := caller{network: account.Network(ctx)}
	in := &linkInput{api.Link{Token: p.Token, Password: r.FormValue("password")}}
	switch p.Kind {
	case account.ProofConfirm:
		_, err = g.confirm(ctx, nobody, in)
	case account.ProofReset:
		_, err = g.setPassword(ctx, in)
	case account.ProofEmail:
		_, err = g.setEmail(ctx, nobody, in)
	case unsubscribe:
		err = g.unsubscribe(ctx, p.Token, account.MailSetting(r.FormValue("mails")))
	}
	if err != nil {
		return err
	}
	p.Over = true
	return p.write(w)
}

// unsubscribe changes which mails an account gets, by the link in one of them.
// Programs for mail send a POST of their own (RFC 8058), which has no cookie and
// asks for no mails at all.
func (g *Gateway) unsubscribe(ctx context.Context, token string, to account.MailSetting) error {
	id, email, err := g.o.Tokens.VerifyUnsubscribe(token)
	if err != nil {
		return used(account.ErrUsed)
	}
	if to != account.MailFailures {
		to = account.MailNone
	}
	if _, err = g.o.Users.Unsubscribe(ctx, id, email, to); errors.Is(err, account.ErrNotFound) {
		return used(account.ErrUsed) // the mails go elsewhere by now, or nowhere
	}
	return err
}
