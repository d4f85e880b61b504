package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
)

// good is evidence that nothing is wrong: one MP3, one file that must fail, one
// upload that was never accepted where that is allowed.
func good() evidence {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	done := conversion.Conversion{ID: "a", IdempotencyKey: "file-0", State: conversion.Done, FinishedAt: at.Add(2 * time.Second)}
	done.Object.Key, done.MP3.Key, done.Notice.State = "uploads/o/a/source", "mp3s/o/a/1.mp3", conversion.NoticeSent
	failed := conversion.Conversion{ID: "b", IdempotencyKey: "file-1", State: conversion.Failed, FinishedAt: at.Add(4 * time.Second)}
	failed.Error = &conversion.Failure{Code: conversion.CodeNoAudio}
	failed.Object.Key, failed.Notice.State = "uploads/o/b/source", conversion.NoticeSent
	return evidence{
		files: []file{
			{name: "low.mp4", key: "file-0", acked: true, sum: "sum"},
			{name: "silent.mp4", key: "file-1", acked: true, want: conversion.CodeNoAudio},
		},
		seen: &seen{
			documents: []conversion.Conversion{done, failed},
			objects:   []string{"uploads/o/a/source", "uploads/o/b/source", "mp3s/o/a/1.mp3"},
			sums:      map[string]string{"mp3s/o/a/1.mp3": "sum"},
			mails:     map[string]int{"<a>": 1, "<b>": 1},
		},
		services: map[string]change{"gateway": {state{30, 50e6, 10}, state{32, 60e6, 20}}},
		ended:    at, observed: 10 * time.Second, struck: 1, recovery: recoveryLimit, lines: linesLimit,
	}
}

// TestJudge spoils good evidence in each way, and wants the complaint.
func TestJudge(t *testing.T) {
	if v := judge(good()); len(v.Red) > 0 || v.Done != 1 || v.Failed != 1 || v.RecoveryMax != 4 || v.RecoveryP50 != 4 {
		t.Fatalf("good evidence: %+v", v)
	}
	document := func(e *evidence, i int) *conversion.Conversion { return &e.seen.documents[i] }
	for _, test := range []struct {
		name  string
		spoil func(*evidence)
		want  []string // the first words of the complaints
	}{
		{"never struck", func(e *evidence) { e.struck = 0 }, []string{"unproven"}},
		{"no document", func(e *evidence) {
			e.seen.documents, e.seen.objects, e.seen.mails = e.seen.documents[1:], e.seen.objects[1:2], map[string]int{"<b>": 1}
		}, []string{"lost"}},
		{"expired", func(e *evidence) {
			document(e, 0).State, e.seen.objects, e.seen.mails = conversion.Expired, e.seen.objects[:2], map[string]int{"<b>": 1}
		}, []string{"lost"}},
		{"running", func(e *evidence) { document(e, 1).State = conversion.Running; delete(e.seen.mails, "<b>") }, []string{"pending", "unfinished"}},
		{"wrong code", func(e *evidence) { document(e, 1).Error.Code = conversion.CodeInternal }, []string{"failed"}},
		{"failed though good", func(e *evidence) { e.files[1].want, e.files[1].sum = "", "sum" }, []string{"failed"}},
		{"done though bad", func(e *evidence) { e.files[0].want = conversion.CodeNoAudio }, []string{"failed"}},
		{"wrong bytes", func(e *evidence) { e.seen.sums["mp3s/o/a/1.mp3"] = "zeros" }, []string{"mp3"}},
		{"no MP3", func(e *evidence) { e.seen.objects, e.seen.sums = e.seen.objects[:2], nil }, []string{"mp3"}},
		{"never accepted", func(e *evidence) { e.files[1].acked, e.files[1].error = false, "no answer" }, []string{"refused"}},
		{"two documents", func(e *evidence) {
			twin := e.seen.documents[1]
			twin.ID = "c"
			e.seen.documents, e.seen.mails["<c>"] = append(e.seen.documents, twin), 1
		}, []string{"doubled"}},
		{"foreign document", func(e *evidence) { e.seen.documents[1].IdempotencyKey = "other" }, []string{"documents", "lost"}},
		{"two MP3s", func(e *evidence) {
			e.seen.objects = append(e.seen.objects, "mp3s/o/a/2.mp3")
		}, []string{"doubled", "orphan"}},
		{"orphan", func(e *evidence) { e.seen.objects = append(e.seen.objects, "uploads/o/x/source") }, []string{"orphan"}},
		{"orphan that is never cleaned", func(e *evidence) {
			e.late, e.seen.objects = true, append(e.seen.objects, "mp3s/o/a/2.mp3")
		}, []string{"doubled", "orphan"}},
		{"second mail", func(e *evidence) { e.seen.mails["<a>"] = 2 }, []string{"mails"}},
		{"missing mail", func(e *evidence) { delete(e.seen.mails, "<a>") }, []string{"mails"}},
		{"notice", func(e *evidence) { document(e, 0).Notice.State = conversion.NoticeOwed }, []string{"pending"}},
		{"outbox", func(e *evidence) { document(e, 0).Outbox = make([]conversion.Message, 1) }, []string{"pending"}},
		{"queue", func(e *evidence) { e.seen.messages = 1 }, []string{"pending"}},
		{"slow", func(e *evidence) { document(e, 1).FinishedAt = e.ended.Add(61 * time.Second) }, []string{"slow"}},
		{"log", func(e *evidence) { s := e.services["gateway"]; s.after.lines = 1000; e.services["gateway"] = s }, []string{"log"}},
		{"torn log", func(e *evidence) { e.torn = []string{"gateway wrote x"} }, []string{"log"}},
		{"MP3 at the end of its time", func(e *evidence) { document(e, 0).MP3Gone, e.seen.objects, e.seen.sums = true, e.seen.objects[:2], nil }, []string{"mp3"}},
		{"memory", func(e *evidence) { s := e.services["gateway"]; s.after.memory = 1e9; e.services["gateway"] = s }, []string{"memory"}},
		{"goroutines", func(e *evidence) { s := e.services["gateway"]; s.after.goroutines = 200; e.services["gateway"] = s }, []string{"goroutines"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := good()
			test.spoil(&e)
			var got []string
			for _, red := range judge(e).Red {
				word, _, _ := strings.Cut(red, ":")
				got = append(got, word)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", judge(e).Red, test.want)
			}
		})
	}
}

// TestAllowed is what a cell may allow.
func TestAllowed(t *testing.T) {
	for name, spoil := range map[string]func(*evidence){
		"a second mail":    func(e *evidence) { e.secondMails, e.seen.mails["<a>"] = 1, 2 },
		"an unknown mail":  func(e *evidence) { e.unknownMails, e.seen.documents[0].Notice.State = true, conversion.NoticeSending },
		"a refused upload": func(e *evidence) { e.mayRefuse, e.files[1].acked = true, false },
		"a late object": func(e *evidence) {
			e.late, e.seen.documents[0].CleanAt = true, e.ended
			e.seen.objects = append(e.seen.objects, "mp3s/o/a/2.mp3")
		},
		"an MP3 at the end of its time": func(e *evidence) {
			e.mp3sGo, e.seen.documents[0].MP3Gone, e.seen.objects, e.seen.sums = true, true, e.seen.objects[:2], nil
		},
		"no look at mails": func(e *evidence) { e.noMails, e.seen.mails = true, nil },
		"an unread refusal": func(e *evidence) {
			e.mayRefuse, e.files[1].acked = true, false
			e.seen.documents[1].Error.Code = conversion.CodeInternal
		},
	} {
		e := good()
		spoil(&e)
		if v := judge(e); len(v.Red) > 0 {
			t.Errorf("%s: %q", name, v.Red)
		}
	}
}

func TestExpected(t *testing.T) {
	for _, test := range []struct {
		red, want []string
	}{
		{[]string{"lost: x"}, []string{}},
		{[]string{"lost: x", "mails: y"}, []string{"mails: y"}},
		{[]string{"mails: y"}, []string{"mails: y", "blind: nothing is red for lost"}},
	} {
		if got := (verdict{Red: test.red}).expected([]string{"lost"}).Red; !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.red, got, test.want)
		}
	}
}

// TestCells: every cell has a name of its own and points to what exists.
func TestCells(t *testing.T) {
	names := map[string]bool{}
	ci := 0
	for _, c := range cells() {
		if names[c.name()] {
			t.Errorf("two cells are called %s", c.name())
		}
		names[c.name()] = true
		if _, ok := findCut(c.cut); !ok && (c.cut != "" || c.flow == nil && c.whole == nil) {
			t.Errorf("%s has no cut", c.name())
		}
		if c.ci {
			ci++
		}
	}
	for _, f := range faults() {
		for _, cut := range f.ci {
			if cut != "-" && !slices.Contains(f.cuts, cut) {
				t.Errorf("CI shall run %s at %q, where it does not begin", f.name, cut)
			}
		}
	}
	if len(names) < 100 || ci < 20 {
		t.Errorf("%d cells, %d of them in CI", len(names), ci)
	}
}
