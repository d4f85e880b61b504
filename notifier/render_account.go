package notifier

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/mail"
)

// accountText is what an account mail says, in one language. None of it is the
// text of whoever caused the mail.
type accountText struct {
	subject string
	says    []string // paragraphs
	button  string   // text of the link; '' for a mail without one
	after   []string // paragraphs after the link
}

// linkOf are the kinds of mails with a link, and which page it opens.
var linkOf = map[account.MailKind]account.ProofKind{
	account.MailConfirm: account.ProofConfirm, account.MailReset: account.ProofReset,
	account.MailRegistered: account.ProofReset, account.MailEmail: account.ProofEmail,
}

var accountTexts = map[account.Language]map[account.MailKind]accountText{
	account.English: {
		account.MailConfirm: {"Confirm your address", []string{"Somebody made a Tonearm account with this address. If it was you, confirm the address:"}, "Confirm address",
			[]string{"The link works once, for 24 hours. You need the password of the account, or to be logged in.", "If it was not you, ignore this mail. Do not enter a password that somebody sent you."}},
		account.MailReset: {"Set a new password", []string{"Somebody asked for a new password for your Tonearm account. If it was you, set it here:"}, "Set a new password",
			[]string{"The link works once, for one hour. All sessions end then, and all API keys are removed.", "If it was not you, ignore this mail. Nothing has changed."}},
		account.MailRegistered: {"You have an account already", []string{"Somebody tried to make a Tonearm account with this address, which has one already. If it was you, log in. If you do not know the password, set a new one here:"}, "Set a new password",
			[]string{"The link works once, for one hour. All sessions end then, and all API keys are removed.", "If it was not you, ignore this mail. Nothing has changed."}},
		account.MailEmail: {"Confirm your new address", []string{"Somebody wants to use this address for their Tonearm account. If it was you, confirm the address:"}, "Confirm new address",
			[]string{"The link works once, for 24 hours. You need the password of the account, or to be logged in.", "If it was not you, ignore this mail. Do not enter a password that somebody sent you."}},
		account.MailTaken:           {"Your address was entered for another account", []string{"Somebody wants to use this address for another Tonearm account. It has an account already, so nothing has changed.", "If it was you: change the address of this account first, or delete it."}, "", nil},
		account.MailEmailChanged:    {"The address of your account has changed", []string{"Your Tonearm account has another address now. Mails go there, and this address is no longer good for logging in.", "If it was not you, tell the operator of the server."}, "", nil},
		account.MailPasswordChanged: {"Your password has changed", []string{"The password of your Tonearm account has changed, and all sessions have ended.", "If it was not you, set a new password at once: tonearm passwd --reset. To see your API keys: tonearm key list."}, "", nil},
		account.MailKeyMade:         {"A new API key of your account", []string{"An API key was made for your Tonearm account.", "If it was not you, set a new password at once: tonearm passwd --reset. That removes all API keys, too."}, "", nil},
		account.MailDeleted:         {"Your account is being deleted", []string{"Your Tonearm account is being deleted, with its videos and MP3s. Nobody can log in any more. Within nine days all of it is gone.", "If it was not you, tell the operator of the server."}, "", nil},
	},
	account.German: {
		account.MailConfirm: {"Bestätigen Sie Ihre Adresse", []string{"Jemand hat mit dieser Adresse ein Konto bei Tonearm angelegt. Waren Sie das, dann bestätigen Sie die Adresse:"}, "Adresse bestätigen",
			[]string{"Der Link gilt einmal, 24 Stunden lang. Sie brauchen das Passwort des Kontos, oder Sie sind angemeldet.", "Waren Sie es nicht, ist nichts zu tun. Geben Sie kein Passwort ein, das Ihnen jemand geschickt hat."}},
		account.MailReset: {"Neues Passwort setzen", []string{"Jemand hat für Ihr Konto bei Tonearm ein neues Passwort angefordert. Waren Sie das, dann setzen Sie es hier:"}, "Neues Passwort setzen",
			[]string{"Der Link gilt einmal, eine Stunde lang. Dann enden alle Sitzungen, und alle API-Schlüssel werden entfernt.", "Waren Sie es nicht, ist nichts zu tun. Es hat sich nichts geändert."}},
		account.MailRegistered: {"Sie haben schon ein Konto", []string{"Jemand wollte mit dieser Adresse ein Konto bei Tonearm anlegen; sie hat schon eines. Waren Sie das, dann melden Sie sich an. Wissen Sie das Passwort nicht, setzen Sie hier ein neues:"}, "Neues Passwort setzen",
			[]string{"Der Link gilt einmal, eine Stunde lang. Dann enden alle Sitzungen, und alle API-Schlüssel werden entfernt.", "Waren Sie es nicht, ist nichts zu tun. Es hat sich nichts geändert."}},
		account.MailEmail: {"Bestätigen Sie Ihre neue Adresse", []string{"Jemand möchte diese Adresse für sein Konto bei Tonearm verwenden. Waren Sie das, dann bestätigen Sie die Adresse:"}, "Neue Adresse bestätigen",
			[]string{"Der Link gilt einmal, 24 Stunden lang. Sie brauchen das Passwort des Kontos, oder Sie sind angemeldet.", "Waren Sie es nicht, ist nichts zu tun. Geben Sie kein Passwort ein, das Ihnen jemand geschickt hat."}},
		account.MailTaken:           {"Ihre Adresse wurde für ein anderes Konto angegeben", []string{"Jemand möchte diese Adresse für ein anderes Konto bei Tonearm verwenden. Sie hat schon ein Konto; es hat sich nichts geändert.", "Waren Sie das, dann ändern Sie zuerst die Adresse dieses Kontos, oder löschen Sie es."}, "", nil},
		account.MailEmailChanged:    {"Die Adresse Ihres Kontos wurde geändert", []string{"Ihr Konto bei Tonearm hat jetzt eine andere Adresse. Mails gehen dorthin, und mit dieser Adresse kann man sich nicht mehr anmelden.", "Waren Sie es nicht, wenden Sie sich an den Betreiber des Servers."}, "", nil},
		account.MailPasswordChanged: {"Ihr Passwort wurde geändert", []string{"Das Passwort Ihres Kontos bei Tonearm wurde geändert, und alle Sitzungen sind beendet.", "Waren Sie es nicht, setzen Sie sofort ein neues Passwort: tonearm passwd --reset. Ihre API-Schlüssel zeigt: tonearm key list."}, "", nil},
		account.MailKeyMade:         {"Ein neuer API-Schlüssel Ihres Kontos", []string{"Für Ihr Konto bei Tonearm wurde ein API-Schlüssel angelegt.", "Waren Sie es nicht, setzen Sie sofort ein neues Passwort: tonearm passwd --reset. Das entfernt auch alle API-Schlüssel."}, "", nil},
		account.MailDeleted:         {"Ihr Konto wird gelöscht", []string{"Ihr Konto bei Tonearm wird gelöscht, mit seinen Videos und MP3s. Anmelden kann sich niemand mehr. Nach spätestens neun Tagen ist alles entfernt.", "Waren Sie es nicht, wenden Sie sich an den Betreiber des Servers."}, "", nil},
	},
}

// errLate: the link of a mail has expired before the mail could be sent.
var errLate = errors.New("the link has expired before the mail could be sent")

// renderAccount writes an account mail.
func (n *Notifier) renderAccount(m account.Mail, now time.Time) (mail.Message, error) {
	language := m.Language
	if accountTexts[language] == nil {
		language = account.English
	}
	out := mail.Message{ID: "account." + m.ID + "@" + n.options.Domain, To: m.Recipient, Date: now}
	says, ok := accountTexts[language][m.Kind]
	if !ok {
		return out, &mail.Error{Err: fmt.Errorf("this version does not know mails of kind %q", m.Kind)} // a newer one sends it
	}
	data := struct {
		Language           account.Language
		Says, After        []string
		Link, Button, From string
	}{Language: language, Says: says.says, After: says.after, From: n.options.PublicURL}
	if kind, ok := linkOf[m.Kind]; ok {
		if now.Sub(m.Notice.OwedSince) >= kind.Life() {
			return out, &mail.Error{Permanent: true, Err: errLate}
		}
		data.Button = says.button
		data.Link = n.options.PublicURL + "/account/" + string(kind) + "?" + url.Values{"lang": {string(language)}, "token": {m.Token}}.Encode()
	}
	out.Subject = "Tonearm: " + says.subject
	var text, html strings.Builder
	if err := texts.ExecuteTemplate(&text, "account.txt", data); err != nil {
		return out, fmt.Errorf("write mail %s: %w", m.ID, err)
	}
	if err := htmls.ExecuteTemplate(&html, "account.html", data); err != nil {
		return out, fmt.Errorf("write mail %s: %w", m.ID, err)
	}
	out.Text, out.HTML = text.String(), html.String()
	return out, nil
}
