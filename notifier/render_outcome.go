package notifier

import (
	"strconv"
	"strings"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// wording is how mails about outcomes are written in one language. The texts
// around it are in template/NAME.LANGUAGE.*.
type wording struct {
	done, failed string // subjects
	inbox        string // in place of the name of a file that somebody else may have named
	date         func(time.Time) string
	size         func(bytes int64) string
	note         func(conversion.Note) string
	// failure says what was wrong and what to do. detail is what the record says,
	// where that is in another language.
	failure func(c conversion.Conversion, f conversion.Failure, server string) (reason, advice, detail string)
}

var wordings = map[account.Language]wording{
	account.English: {
		done: "Your MP3 is ready", failed: "Could not convert", inbox: "a file in your inbox",
		date: func(t time.Time) string { return t.Format("Monday, 2 January 2006, 15:04 UTC") },
		size: conversion.Size,
		note: conversion.Note.String,
		failure: func(c conversion.Conversion, f conversion.Failure, server string) (string, string, string) {
			return f.Message, c.Advice(server), ""
		},
	},
	account.German: {
		done: "Ihre MP3 ist fertig", failed: "Nicht umgewandelt", inbox: "eine Datei in Ihrem Eingang",
		date:    germanDate,
		size:    func(bytes int64) string { return strings.Replace(conversion.Size(bytes), ".", ",", 1) },
		note:    germanNote,
		failure: germanFailure,
	},
}

// wordingOf is how the owner of c wants to read.
func wordingOf(c conversion.Conversion) (wording, account.Language) {
	if w, ok := wordings[account.Language(c.Language)]; ok {
		return w, account.Language(c.Language)
	}
	return wordings[account.English], account.English
}

var (
	germanDays   = [...]string{"Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"}
	germanMonths = [...]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}
)

func germanDate(t time.Time) string {
	return germanDays[t.Weekday()] + ", " + strconv.Itoa(t.Day()) + ". " + germanMonths[t.Month()-1] + t.Format(" 2006, 15:04 UTC")
}

var germanNotes = map[conversion.NoteCode]string{
	conversion.NoteCopied:            "Der Ton war schon MP3 und wurde unverändert übernommen.",
	conversion.NoteNotCopied:         "Der Ton war schon MP3, wurde aber neu kodiert.",
	conversion.NoteBitrateExcess:     "Die verlangte Bitrate bringt nichts: Die Quelle hat weniger, oder MP3 kennt sie nicht.",
	conversion.NoteRateChanged:       "Die MP3 hat eine andere Abtastrate als das Video.",
	conversion.NoteDownmixed:         "Das Video hat mehr als zwei Kanäle; sie wurden zusammengemischt.",
	conversion.NoteNoCover:           "Das gewünschte Titelbild gibt es nicht.",
	conversion.NoteLimited:           "Spitzen wurden abgesenkt, um die Lautheit zu erreichen.",
	conversion.NoteLoudnessOff:       "Die gewünschte Lautheit wurde nicht erreicht.",
	conversion.NoteChaptersLeftOut:   "Das Video hat mehr Kapitel, als übernommen werden.",
	conversion.NoteParametersChanged: "Abtastrate oder Kanäle des Videos ändern sich mittendrin.",
	conversion.NoteGap:               "Der Ton des Videos macht eine Pause; sie wurde weggelassen.",
	conversion.NotePacketsLost:       "Ein Teil des Tons ist beschädigt und fehlt.",
	conversion.NoteClipped:           "Der Ton ist lauter, als eine Datei ihn wiedergeben kann.",
}

// germanNote leaves the numbers of a note to the record.
func germanNote(n conversion.Note) string {
	says := germanNotes[n.Code]
	if says == "" {
		says = n.Message
	}
	if n.At > 0 {
		says = "Bei " + conversion.Clock(n.At) + ": " + says
	}
	return says + " (" + string(n.Code) + ")"
}

const (
	germanAgain   = "Läuft die Datei bei Ihnen, dann laden Sie sie noch einmal hoch. Vielleicht wurde sie unterwegs abgeschnitten oder verändert."
	germanWhole   = "Laden Sie die ganze Datei noch einmal hoch."
	germanOptions = "Laden Sie die Datei mit anderen Angaben noch einmal hoch."
	germanCommon  = "Speichern Sie die Datei in einem verbreiteten Format, etwa als MP4 mit AAC-Ton, und laden Sie diese hoch."
	germanShorter = "Teilen Sie die Datei, oder speichern Sie sie in einem verbreiteten Format (Stereo, 48 kHz), und laden Sie das hoch."
)

// germanFailures has a reason and an advice for each code. Without an advice,
// another try may help.
var germanFailures = map[conversion.Code][2]string{
	conversion.CodeNoAudio:          {"Das Video hat keinen Ton.", "Es gibt nichts umzuwandeln. Hören Sie beim Abspielen etwas, dann prüfen Sie, ob es die richtige Datei ist."},
	conversion.CodeNotMedia:         {"Das ist kein Video und keine Tondatei in einem Format, das Tonearm lesen kann.", germanAgain},
	conversion.CodeEmpty:            {"Die Datei ist leer.", germanWhole},
	conversion.CodeDamaged:          {"Die Datei ist beschädigt.", germanAgain},
	conversion.CodeTruncated:        {"Die Datei ist kürzer, als sie verspricht.", germanAgain},
	conversion.CodeUnsupportedCodec: {"Den Ton dieser Datei kann Tonearm nicht lesen.", germanCommon},
	conversion.CodeTrackNotFound:    {"Die verlangte Tonspur gibt es in der Datei nicht.", germanOptions},
	conversion.CodeStartBeyondEnd:   {"Der verlangte Anfang liegt hinter dem Ende des Tons.", germanOptions},
	conversion.CodeLimitExceeded:    {"Die Datei überschreitet eine Grenze des Servers.", germanShorter},
	conversion.CodeSourceChanged:    {"Die hochgeladene Datei wurde verändert.", germanWhole},
	conversion.CodeSourceMissing:    {"Die hochgeladene Datei ist nicht mehr da.", germanWhole},
	conversion.CodeSizeMismatch:     {"Die hochgeladene Datei hat nicht die angekündigte Größe.", germanWhole},
	conversion.CodeInvalidOptions:   {"Die Angaben passen nicht zu dieser Datei.", germanOptions},

	conversion.CodeCrashed:          {"Die Umwandlung ist abgestürzt.", ""},
	conversion.CodeOutOfMemory:      {"Der Speicher hat für die Umwandlung nicht gereicht.", ""},
	conversion.CodeDeadlineExceeded: {"Die Umwandlung hat zu lange gedauert und wurde beendet.", ""},
	conversion.CodeLost:             {"Die Maschine, die umwandelte, ist ausgefallen.", ""},
	conversion.CodeLaunchFailed:     {"Die Umwandlung konnte nicht beginnen.", ""},
	conversion.CodeStore:            {"Der Speicher für Dateien war nicht zu erreichen.", ""},
	conversion.CodeInternal:         {"Auf dem Server ist etwas schiefgegangen.", ""},
}

func germanFailure(c conversion.Conversion, f conversion.Failure, server string) (reason, advice, detail string) {
	says, ok := germanFailures[f.Code]
	if !ok { // of a newer version
		says = germanFailures[conversion.CodeInternal]
	}
	if says[1] == "" {
		says[1] = "Tonearm hat es mehrmals versucht. Noch ein Versuch: tonearm retry " + c.ID + " (oder POST " + server + "/v1/conversions/" + c.ID +
			"/retry). Sie können die Datei auch später noch einmal hochladen."
	}
	return says[0], says[1], f.Message
}
