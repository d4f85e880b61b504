// Package sqsnotify takes the store's notifications from an Amazon SQS queue,
// where AWS's S3 puts them, directly or by way of SNS or EventBridge.
//
// A message is deleted only after what follows from it was recorded. One that
// failed is made visible again after a pause that doubles from 5 s to 15 min,
// whatever the failure was: how often it may come again before it is moved to a
// dead-letter queue is the queue's own redrive policy, and without one it comes
// until its retention ends. While it waits it is in nobody's way. A process that
// ends gives back what it was in the middle of at once; what a crash leaves
// comes again after a minute.
//
// Any number of processes may receive from one queue. Standard queues deliver at
// least once and in no order, as notifications are. S3 takes no FIFO queues.
//
// Where the queue is down, calls fail after the SDK's few retries; nothing is
// kept in memory, so they may be made again.
//
// Permissions on the queue: sqs:ReceiveMessage, sqs:DeleteMessage,
// sqs:ChangeMessageVisibility, sqs:GetQueueAttributes; and kms:Decrypt on the
// key of one that is encrypted with a key of its own.
//
// Tested against a stand-in that speaks SQS's JSON protocol over HTTP with the
// real SDK (package sqstest), and not against AWS.
package sqsnotify
