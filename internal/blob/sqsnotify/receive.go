package sqsnotify

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"tonearm/internal/retry"
)

// Times of one Receive.
const (
	batch      = 10               // messages; SQS allows no more
	longPoll   = 20 * time.Second // the longest that SQS allows
	answerTime = 40 * time.Second // for the answer to a long poll: a connection may have died silently
	hidden     = time.Minute      // while a message is worked on, others do not see it for this long
	takeTime   = 45 * time.Second // for take; it leaves time to settle the message before others see it again
	settleTime = 5 * time.Second  // to settle a message, also while the process stops
)

// pauses are the times until a failed message comes again.
var pauses = retry.Policy{Initial: 5 * time.Second, Max: 15 * time.Minute}

// Consume waits up to 20 s for messages and gives up to ten of them to take,
// all at once, each for at most 45 s. When ctx ends it returns at once;
// messages that take is working on go back to the queue.
func (q *Queue) Consume(ctx context.Context, take func(ctx context.Context, body []byte) error) error {
	messages, err := q.poll(ctx)
	if err != nil {
		return fmt.Errorf("receive notifications: %w", plain(err))
	}
	failed := make([]error, len(messages))
	var wg sync.WaitGroup
	for i, m := range messages {
		wg.Go(func() { failed[i] = q.handle(ctx, m, take) })
	}
	wg.Wait()
	for _, err := range failed { // all are errors of one queue: the first says enough
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) poll(ctx context.Context) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	out, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &q.url,
		MaxNumberOfMessages:         batch,
		WaitTimeSeconds:             seconds(longPoll),
		VisibilityTimeout:           seconds(hidden),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// handle gives one message to take, and removes it or leaves it for later.
func (q *Queue) handle(ctx context.Context, m types.Message, take func(context.Context, []byte) error) error {
	taking, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	failed := take(taking, []byte(aws.ToString(m.Body)))
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if failed == nil {
		_, err := q.client.DeleteMessage(settling, &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: m.ReceiptHandle})
		if err != nil {
			return fmt.Errorf("delete notification: %w", plain(err))
		}
		return nil
	}
	after := pause(m)
	if ctx.Err() != nil {
		after = 0 // so that another process can take it
	}
	_, err := q.client.ChangeMessageVisibility(settling, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds(after),
	})
	if err != nil {
		return fmt.Errorf("put off notification: %w", plain(err))
	}
	return nil
}

// pause returns how long a failed message waits; longer each time it came.
func pause(m types.Message) time.Duration {
	count, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		count = 1 // SQS did not say, so it comes again soon
	}
	return pauses.Pause(count)
}

func seconds(d time.Duration) int32 { return int32(d / time.Second) }
