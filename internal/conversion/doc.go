// Package conversion is the domain of Tonearm: one uploaded file and its way
// to one MP3.
//
// A [Conversion] is one document. Every transition is a method on it that
// checks the present state, changes the document in memory and writes into
// [Conversion.Outbox] the messages that the change causes; a [Store] then
// replaces the document in one conditional atomic update. The document alone
// says what is owed: [Queued] owes work, a terminal state whose notice is
// [NoticeOwed] owes a mail. [Conversion.WakeAt] says when somebody has to look
// at it next, so that one query finds every kind of overdue work. Only this
// package changes a Conversion's fields; TestClosed holds the module to it.
//
// The package imports nothing but the standard library.
package conversion
