// Package notifier mails the outcome of each conversion to its owner: the id
// of the MP3 and a link to it, or why there is none.
//
// # Role
//
// A conversion that is done or has failed for good owes one notice, unless its
// owner wants none (notify: none). The notifier
// takes the message about it from the queue (class notice), claims the notice
// in the record, sends the mail and records what the mail server said. Any
// number of notifiers may run.
//
// # Guarantee
//
// At least one mail for each outcome, and one in the ordinary case. A notice is
// claimed for longer than the sender's time-out before anything is sent, and
// the message is acknowledged only once the record says what happened; a
// process that dies in between leaves the claim, and the mail is sent again
// after it has passed. All mails about one outcome carry the same Message-ID.
// Temporary refusals are retried after 30 s, then twice as long each time up to
// an hour, for five days; permanent ones are recorded.
//
// A message for a notice that somebody else holds is returned until that claim
// ends rather than acknowledged: should the claimant have died, the mail then
// follows at once and does not wait for the dispatcher to notice. A message
// delivered more than 20 times is acknowledged, since the record owes the notice
// still and wakes the dispatcher, which publishes it again.
//
// # Neighbours
//
// Records down: messages are returned and none is taken until the store
// answers. If it went down while a mail was being sent, the outcome is kept in
// memory and written when the store is back; only a notifier that ends before
// may lead to a second mail.
//
// Queue down: the notifier waits for it. What it had taken is finished and
// comes again, to be found done.
//
// Mail server down: each notice goes back with its pause. Nothing is lost for
// five days.
//
// Gateway down: mails go out; their links work once it is back.
//
// On shutdown no more messages are taken and the mails begun are finished,
// which takes up to the sender's time-out.
//
// # Permissions
//
// Reads and updates conversions; takes, returns and acknowledges messages of
// the class notice, and publishes them; holds the key that signs download
// links; speaks to the mail server. It reaches neither the object store nor the
// users.
package notifier
