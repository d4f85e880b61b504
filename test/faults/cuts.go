package main

import "tonearm/test/faults/proxy"

// cut is a point on a file's way: the moment at which a certain request passes a
// gate.
type cut struct {
	name, gate string
	text       string // for the table
	pattern    string // of the request; "" where script is set
	script     string // of the queue
	class      string // of its messages
	http       bool
}

// cuts are in the order of a file's way.
var cuts = []cut{
	{name: "create", gate: gateAPI, text: "a client asks for a conversion", pattern: `^POST /v1/conversions `, http: true},
	{name: "created", gate: gateRecords, text: "its document is made", pattern: `(?s)\x02insert\x00.{4}conversions\x00`},
	{name: "upload", gate: gateFront, text: "a client uploads", pattern: `^PUT /tonearm/uploads/`, http: true},
	{name: "event", gate: gateEvents, text: "the store reports the upload", pattern: `^POST /events/s3 `, http: true},
	{name: "queued", gate: gateRecords, text: "the document becomes queued", pattern: becomes("queued")},
	{name: "publish", gate: gateRedis, text: "the work is published", script: "publish", class: "cpu"},
	{name: "take", gate: gateRedis, text: "the dispatcher takes the work", script: "take", class: "cpu"},
	{name: "running", gate: gateRecords, text: "the document becomes running", pattern: becomes("running")},
	{name: "claim", gate: gateAttempts, text: "the transcoder claims the attempt", pattern: `^POST /attempts/[^ ]*/claim `, http: true},
	{name: "read", gate: gateStore, text: "the transcoder reads", pattern: `^GET /tonearm/uploads/`, http: true},
	{name: "put", gate: gateStore, text: "the transcoder stores the MP3", pattern: `^PUT /tonearm/mp3s/`, http: true},
	{name: "result", gate: gateAttempts, text: "the transcoder reports the result", pattern: `^POST /attempts/[^ ]*/result `, http: true},
	{name: "done", gate: gateRecords, text: "the document becomes done", pattern: becomes("done")},
	{name: "ack", gate: gateRedis, text: "the work's message is acknowledged", script: "ack", class: "cpu"},
	{name: "notice", gate: gateRedis, text: "the notifier takes the notice", script: "take", class: "notice"},
	{name: "mail", gate: gateSMTP, text: "the mail's text has been sent", pattern: `\r\n\.\r\n$`},
	{name: "sent", gate: gateRecords, text: "the document says that the mail is sent", pattern: becomes("sent")},
}

// becomes matches updates of a document that write a state.
func becomes(state string) string {
	return `(?s)\x02update\x00.{4}conversions\x00.*\$set.*\x02state\x00.{4}` + state + `\x00`
}

func findCut(name string) (cut, bool) {
	for _, c := range cuts {
		if c.name == name {
			return c, true
		}
	}
	return cut{}, false
}

// match says which requests of a world pass the cut.
func (c cut) match(w *world) func([]byte) bool {
	if c.script != "" {
		return w.scripts.runs(c.script, c.class)
	}
	return proxy.Regexp(c.pattern)
}
