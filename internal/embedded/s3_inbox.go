package embedded

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"tonearm/internal/conversion"
)

// accounts are the root account and the inbox account. Root may do everything.
// The inbox account may only do what inboxPolicy allows.
type accounts struct {
	auth.IAMService // of the root account
	inbox           auth.Account
}

func newAccounts(config s3Config) accounts {
	return accounts{
		auth.NewIAMServiceSingle(auth.Account{Access: config.AccessKey, Secret: config.SecretKey, Role: auth.RoleAdmin}),
		auth.Account{Access: config.InboxAccessKey, Secret: config.InboxSecretKey, Role: auth.RoleUser},
	}
}

func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if access == a.inbox.Access {
		return a.inbox, nil
	}
	return a.IAMService.GetUserAccount(access)
}

// inboxPolicy is the statement of a bucket's policy that lets the inbox account
// upload below inbox/, in one piece or in parts, and nothing else. The gateway
// checks a POST form without its key, so a form needs the root account.
func (n notifying) inboxPolicy(bucket string) (json.RawMessage, error) {
	return json.Marshal(map[string]any{
		"Effect": "Allow", "Principal": n.inboxKey,
		"Action":   []string{string(auth.PutObjectAction), string(auth.AbortMultipartUploadAction), string(auth.ListMultipartUploadPartsAction)},
		"Resource": auth.ResourceArnPrefix + bucket + "/" + conversion.InboxPrefix + "*",
	})
}

// GetBucketPolicy returns the bucket's policy with inboxPolicy added. The
// gateway asks for it at each request of an account other than root.
func (n notifying) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	policy := struct {
		Version   auth.PolicyVersion
		Statement []json.RawMessage
	}{Version: auth.PolicyVersion2012}
	stored, err := n.Backend.GetBucketPolicy(ctx, bucket)
	if err == nil {
		err = json.Unmarshal(stored, &policy)
	} else if errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)) {
		err = nil
	}
	if err != nil {
		return nil, err // as it is: the gateway answers by its type
	}
	statement, err := n.inboxPolicy(bucket)
	if err != nil {
		return nil, err
	}
	policy.Statement = append(policy.Statement, statement)
	return json.Marshal(policy)
}
