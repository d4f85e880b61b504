package account

import (
	"strings"
	"unicode"
)

// lookAlike reports whether a domain, in Unicode, could be taken for another one.
// It compares with no account: an answer that did would tell whether somebody with
// that domain has one. Instead it does what browsers do before they show a name:
//
//   - Each label is in one script, but for the mixtures that Japanese, Chinese and
//     Korean are written in, with or without Latin letters (UTS 39, section 5.2,
//     "highly restrictive"). So there is no exаmple.org with a Cyrillic а.
//   - A label that is made of nothing but Cyrillic or Greek letters with a Latin
//     twin, such as сосо, is refused below a domain in another script: it could be taken for
//     the Latin name itself.
//   - Letters that are twins of others of their own script are refused, such as the
//     Latin alpha.
//
// Domains in ASCII are never refused: examp1e.org is somebody's own. Nor are
// accents.
func lookAlike(domain string) bool {
	labels := strings.Split(domain, ".")
	top := scriptsOf(labels[len(labels)-1])
	for _, label := range labels {
		found := scriptsOf(label)
		if !oneWriting(found) || strings.ContainsAny(label, latinOdd) {
			return true
		}
		for script, twins := range latinTwins {
			if found[script] && !top[script] && (twins == "" || strings.Trim(label, twins+"-0123456789") == "") {
				return true
			}
		}
	}
	return false
}

// latinTwins are the letters of other scripts that look like Latin ones in common
// fonts (UTS 39, confusables.txt); of a script with an empty text, most do.
var latinTwins = map[string]string{
	"Armenian": "ոսօհցզղյքւ",
	"Cherokee": "",
	"Cyrillic": "асԁеһіјӏорԗԛѕԝхуъьҽпгѵѡкмнтв",
	"Greek":    "αικνορτυωηγχϲϳ",
	"Lisu":     "",
}

// latinOdd are Latin letters of phonetic alphabets that look like others.
const latinOdd = "ɑɡɩɪʟʏ"

// scriptsOf returns which scripts a label is in. Digits, the hyphen and marks are
// in no script of their own.
func scriptsOf(label string) map[string]bool {
	found := map[string]bool{}
	for _, r := range label {
		if r < 0x80 {
			if r >= 'a' && r <= 'z' {
				found["Latin"] = true
			}
			continue
		}
		for name, table := range unicode.Scripts {
			if unicode.Is(table, r) {
				found[name] = true
				break
			}
		}
	}
	delete(found, "Common")
	delete(found, "Inherited")
	return found
}

// oneWriting reports whether the scripts are used together in one language.
func oneWriting(found map[string]bool) bool {
	if len(found) <= 1 {
		return true
	}
	for _, writing := range []string{"Latin Han Hiragana Katakana", "Latin Han Bopomofo", "Latin Han Hangul"} {
		all := true
		for name := range found {
			all = all && strings.Contains(" "+writing+" ", " "+name+" ")
		}
		if all {
			return true
		}
	}
	return false
}
