// Package sqsnotify takes notifications from an Amazon SQS queue. AWS's S3 puts
// them there, directly or by way of SNS or EventBridge.
//
// A message is deleted only after its consequences were recorded. If that
// fails, for whatever reason, the message becomes visible again after a pause
// that doubles from 5 s to 15 min. In the meantime it is in nobody's way. The
// queue's own redrive policy says how often it may come before it is moved to a
// dead-letter queue; without such a policy it comes until its retention ends. A
// process that ends gives back at once the messages that it is working on.
// After a crash they come again within a minute.
//
// Any number of processes may receive from one queue. Standard queues deliver at
// least once and in no order, as notifications are. S3 takes no FIFO queues.
//
// While the queue is down, calls fail after the SDK's few retries. They may be
// repeated, because nothing is kept in memory.
//
// Permissions on the queue: sqs:ReceiveMessage, sqs:DeleteMessage,
// sqs:ChangeMessageVisibility, sqs:GetQueueAttributes. A queue that is
// encrypted with a key of its own needs kms:Decrypt on that key too.
//
// It is tested with the real SDK against a stand-in that speaks SQS's JSON
// protocol over HTTP (package sqstest), and not against AWS.
package sqsnotify
