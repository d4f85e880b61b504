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
// # Guarantee
//
// Each outcome gets at least one mail, and ordinarily exactly one. Before
// anything is sent, the notice is claimed for longer than the sender's
// time-out. The message is acknowledged only once the record says what
// happened. If a process dies in between, its claim stays, and the mail is sent
// again after the claim has ended. All mails about one outcome carry the same
// Message-ID. Temporary refusals are retried after 30 s, then after twice as
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
// Queue down: the notifier waits for it. Work on messages that it had taken is
// finished. They come again later, and are then found to be done.
//
// Mail server down: each notice is returned and tried again after its pause.
// Nothing is lost for five days.
//
// Gateway down: mails go out; their links work once it is back.
//
// On shutdown no more messages are taken, and mails that are being sent are
// finished. That takes up to the sender's time-out.
//
// # Permissions
//
// Reads and updates conversions; takes, returns and acknowledges messages of
// the class notice, and publishes them; holds the key that signs download
// links; speaks to the mail server. It reaches neither the object store nor the
// users.
package notifier
