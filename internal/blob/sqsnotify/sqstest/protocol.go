package sqstest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// request has the fields of all four calls.
type request struct {
	QueueUrl                    string //nolint:revive // SQS's name
	MaxNumberOfMessages         *int
	WaitTimeSeconds             int
	VisibilityTimeout           *int
	MessageSystemAttributeNames []string
	AttributeNames              []string
	ReceiptHandle               string
}

type received struct {
	MessageId     string //nolint:revive // SQS's name
	ReceiptHandle string
	Body          string
	MD5OfBody     string
	Attributes    map[string]string `json:",omitempty"`
}

const (
	longestHidden = 12 * 60 * 60 // seconds
	longestWait   = 20
	mostMessages  = 10
)

// ServeHTTP answers one call.
func (q *Queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	var in request
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	switch err := body.Decode(&in); {
	case r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.0" || !ok || err != nil:
		refuse(w, "InvalidAddress")
		return
	case !signed(r):
		refuse(w, "InvalidClientTokenId")
		return
	case in.QueueUrl != q.URL:
		refuse(w, "QueueDoesNotExist")
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != "" {
		q.refuse(w)
		return
	}
	switch operation {
	case "ReceiveMessage":
		q.receive(w, r, in)
	case "DeleteMessage":
		q.delete(w, in)
	case "ChangeMessageVisibility":
		q.hide(w, in)
	case "GetQueueAttributes":
		answer(w, map[string]any{"Attributes": map[string]string{"QueueArn": "arn:aws:sqs:" + Region + ":111122223333:tonearm"}})
	default:
		refuse(w, "UnsupportedOperation")
	}
}

func (q *Queue) receive(w http.ResponseWriter, r *http.Request, in request) {
	n, hidden := 1, 30
	if in.MaxNumberOfMessages != nil {
		n = *in.MaxNumberOfMessages
	}
	if in.VisibilityTimeout != nil {
		hidden = *in.VisibilityTimeout
	}
	if n < 1 || n > mostMessages || in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > longestWait || hidden < 0 || hidden > longestHidden {
		refuse(w, "InvalidParameterValue")
		return
	}
	end := q.clock + seconds(in.WaitTimeSeconds)
	taken := q.take(n, seconds(hidden))
	for len(taken) == 0 && q.clock < end {
		q.wait(r)
		switch {
		case r.Context().Err() != nil:
			return // nobody is left to get them
		case q.refusal != "":
			q.refuse(w)
			return
		}
		taken = q.take(n, seconds(hidden))
	}
	out := struct {
		Messages []received `json:",omitempty"`
	}{}
	for _, m := range taken {
		message := received{MessageId: m.ID, ReceiptHandle: m.handle, Body: m.Body, MD5OfBody: md5Of(m.Body)}
		if slices.Contains(in.MessageSystemAttributeNames, "ApproximateReceiveCount") {
			message.Attributes = map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.Received)}
		}
		out.Messages = append(out.Messages, message)
	}
	answer(w, out)
}

// delete removes the message. With an old handle it does nothing, and still
// reports success, as SQS does.
func (q *Queue) delete(w http.ResponseWriter, in request) {
	if m := q.inFlight(in.ReceiptHandle); m != nil {
		q.messages = slices.DeleteFunc(q.messages, func(other *Message) bool { return other == m })
		q.change()
	}
	answer(w, nil)
}

func (q *Queue) hide(w http.ResponseWriter, in request) {
	m := q.inFlight(in.ReceiptHandle)
	switch {
	case in.VisibilityTimeout == nil || *in.VisibilityTimeout < 0 || *in.VisibilityTimeout > longestHidden:
		refuse(w, "InvalidParameterValue")
		return
	case m == nil:
		refuse(w, "MessageNotInflight")
		return
	}
	m.visible = q.clock + seconds(*in.VisibilityTimeout)
	q.change()
	answer(w, nil)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// answer writes what a call returned; nothing for calls without a result.
func answer(w http.ResponseWriter, out any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if out != nil {
		json.NewEncoder(w).Encode(out)
	}
}

// refuse answers with the error that Refuse set.
func (q *Queue) refuse(w http.ResponseWriter) {
	q.refused++
	refuse(w, q.refusal)
}

// refuse answers with an error whose text must not be logged.
func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": "refused " + SecretKey})
}
