package track

import (
	"slices"
	"strings"
)

// sameLanguage compares tags of two or three letters (ISO 639-1, 639-2 in both
// its forms).
func sameLanguage(a, b string) bool {
	return a != "" && canonical(a) == canonical(b)
}

func canonical(tag string) string {
	tag, _, _ = strings.Cut(strings.ToLower(tag), "-") // en-US
	for _, names := range languages {
		if slices.Contains(names, tag) {
			return names[0]
		}
	}
	return tag
}

// languages lists codes of the same language. A code that is missing here must
// be given exactly as in the container.
var languages = [][]string{
	{"ar", "ara"}, {"bg", "bul"}, {"bn", "ben"}, {"ca", "cat"}, {"cs", "ces", "cze"}, {"cy", "cym", "wel"},
	{"da", "dan"}, {"de", "deu", "ger"}, {"el", "ell", "gre"}, {"en", "eng"}, {"es", "spa"}, {"et", "est"},
	{"eu", "eus", "baq"}, {"fa", "fas", "per"}, {"fi", "fin"}, {"fr", "fra", "fre"}, {"ga", "gle"}, {"gl", "glg"},
	{"he", "heb"}, {"hi", "hin"}, {"hr", "hrv"}, {"hu", "hun"}, {"hy", "hye", "arm"}, {"id", "ind"},
	{"is", "isl", "ice"}, {"it", "ita"}, {"ja", "jpn"}, {"ka", "kat", "geo"}, {"ko", "kor"}, {"lt", "lit"},
	{"lv", "lav"}, {"mk", "mkd", "mac"}, {"ms", "msa", "may"}, {"nb", "nob"}, {"nl", "nld", "dut"}, {"nn", "nno"},
	{"no", "nor"}, {"pl", "pol"}, {"pt", "por"}, {"ro", "ron", "rum"}, {"ru", "rus"}, {"sk", "slk", "slo"},
	{"sl", "slv"}, {"sq", "sqi", "alb"}, {"sr", "srp"}, {"sv", "swe"}, {"ta", "tam"}, {"te", "tel"}, {"th", "tha"},
	{"tr", "tur"}, {"uk", "ukr"}, {"ur", "urd"}, {"vi", "vie"}, {"zh", "zho", "chi"},
}
