// Package notifier mails the outcome of each conversion to its owner: the id
// of the MP3 and a link to it, or why there is none.
//
// # Role
//
// A conversion that is done or has failed for good owes one notice, unless its
// owner wants none (notify: none). The notifier takes the message about it from
// the queue (class notice), claims the notice in the record, sends the mail and
// records the mail server's answer. Any number of notifiers may run.
//
// It also sends the mails that are owed to accounts: they prove addresses, set
// passwords anew, and tell what has happened to an account. The users' database
// says which are owed; the queue only wakes the notifier, which otherwise looks
// every 5 s. The same claims, pauses and limits hold for them. A mail whose link
// has expired is given up.
//
// # Guarantee
//
// Each outcome gets at least one mail, and ordinarily exactly one. Before
// anything is sent, the notice is claimed for 30 s, and the claim is renewed
// while the mail is being sent. The message is acknowledged only once the record
// says what happened. All mails about one outcome carry the same Message-ID.
//
// A second mail can come in three cases. The connection breaks after the whole
// mail was sent and before the server's answer, for which the notifier waits
// for ten minutes: the mail is sent again after ten more minutes, and the
// metric counts that as unknown. The process dies after the server has the mail
// and before the record says so: the mail is sent again after the claim has
// ended. Or the records cannot be written for longer than the claim lasts, and
// the notifier ends before they can.
//
// Temporary refusals are retried after 30 s, then after twice as
// long each time up to an hour, for five days; permanent refusals are recorded.
//
// A message whose notice somebody else has claimed is not acknowledged, but
// returned until that claim ends. If the claimant has died, the mail then
// follows at once and need not wait for the dispatcher. A message that was
// delivered more than 20 times is acknowledged: the record still owes the
// notice and wakes the dispatcher, which publishes it again.
//
// # Neighbours
//
// Records down: messages are returned, and none is taken until the store
// answers. If it goes down while a mail is being sent, the outcome is kept in
// memory and written when the store is back. Only if the notifier ends before
// that, a second mail may follow.
//
// Users down: mails to accounts wait; outcomes are mailed.
//
// Queue down: the notifier waits for it. Work on messages that it had taken is
// finished. They come again later, and are then found to be done.
//
// Mail server down: each notice is returned and tried again after its pause.
// Nothing is lost for five days.
//
// Gateway down: mails go out; their links work once it is back.
//
// On shutdown no more messages are taken, and mails that are being sent are
// finished, for up to 30 s.
//
// # Permissions
//
// Reads and updates conversions; takes, returns and acknowledges messages of
// the class notice, and publishes them; holds a key for the links to MP3s, which
// is good for nothing else (--download-keys); speaks to the mail server. Of the
// users' database it reads and updates the table account_mails and nothing else.
// It does not reach the object store.
package notifier
