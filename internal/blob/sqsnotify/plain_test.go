package sqsnotify

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/smithy-go"
)

// The SDK fetches credentials from STS in the middle of a call to SQS. The
// answer of STS may repeat the token that was sent.
func TestPlain(t *testing.T) {
	t.Parallel()
	sts := &smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRoleWithWebIdentity",
		Err: &smithy.GenericAPIError{Code: "InvalidIdentityToken", Message: "refused TOKEN"}}
	call := func(err error) error {
		return &smithy.OperationError{ServiceID: "SQS", OperationName: "ReceiveMessage", Err: fmt.Errorf("get identity: %w", err)}
	}
	for want, err := range map[string]error{
		"STS AssumeRoleWithWebIdentity: InvalidIdentityToken": call(sts),
		"SQS ReceiveMessage: AccessDenied":                    call(&smithy.GenericAPIError{Code: "AccessDenied", Message: "TOKEN"}),
		"InvalidIdentityToken":                                sts.Err,
		"no route":                                            errors.New("no route"),
	} {
		if got := plain(err); got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if err := plain(call(context.Canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a canceled call", err)
	}
}
