package mp4

import "strings"

// macintosh are the languages of QuickTime's own codes, from 0 on; a dot for
// none.
var macintosh = strings.Fields(`eng fra ger ita dut sve spa dan por nor heb jpn ara fin gre ice mlt tur hr chi urd hin tha kor lit pol hun est lav .
fo . rus chi . iri alb ron ces slk slv yid sr mac bul ukr bel uzb kaz aze aze arm geo mol kir tgk tuk mon . pus kur kas snd tib nep san mar ben asm guj pa ori
mal kan tam tel . bur khm lao vie ind tgl may may amh tir orm som swa . run . mlg epo`)

// language reads a media header's code: three letters of 5 bits, or QuickTime's.
func language(code uint16) string {
	switch {
	case code == 0x7fff: // QuickTime's "unspecified"
		return ""
	case int(code) < len(macintosh):
		if macintosh[code] == "." {
			return ""
		}
		return macintosh[code]
	case code < 0x400:
		return ""
	}
	name := string([]byte{byte(code>>10&31) + 0x60, byte(code>>5&31) + 0x60, byte(code&31) + 0x60})
	if name == "und" {
		return ""
	}
	return name
}
