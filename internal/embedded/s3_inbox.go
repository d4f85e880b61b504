package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"tonearm/internal/conversion"
)

// accounts are the root account, which may do everything, and those that may only do
// what their grants say.
type accounts struct {
	auth.IAMService // of the root account
	others          []limited
}

// limited is an account and what it may do, in any bucket.
type limited struct {
	auth.Account
	grants []grant
}

// grant allows actions on the objects below each prefix, or on the bucket itself where
// there is none.
type grant struct {
	actions  []auth.Action
	prefixes []string
}

var (
	reading = []auth.Action{auth.GetObjectAction}
	writing = []auth.Action{auth.PutObjectAction, auth.AbortMultipartUploadAction, auth.ListMultipartUploadPartsAction}
)

// newAccounts limits the account of the inbox to uploads below inbox/, in one piece or
// in parts (the server checks a POST form without its key, so a form needs the root
// account), and those of the services as kustomize's in-cluster-store does.
func newAccounts(config s3Config) accounts {
	account := func(k Keys, grants ...grant) limited {
		return limited{auth.Account{Access: k.AccessKey, Secret: k.SecretKey, Role: auth.RoleUser}, grants}
	}
	look := grant{actions: []auth.Action{auth.ListBucketAction}}
	return accounts{
		auth.NewIAMServiceSingle(auth.Account{Access: config.AccessKey, Secret: config.SecretKey, Role: auth.RoleAdmin}),
		[]limited{
			account(Keys{config.InboxAccessKey, config.InboxSecretKey}, grant{writing, []string{conversion.InboxPrefix}}),
			account(config.Gateway, look,
				grant{slices.Concat(reading, writing, []auth.Action{auth.DeleteObjectAction}), []string{conversion.UploadPrefix}},
				grant{reading, []string{conversion.MP3Prefix}}),
			account(config.Dispatcher, look,
				grant{[]auth.Action{auth.GetObjectAction, auth.DeleteObjectAction, auth.AbortMultipartUploadAction, auth.ListMultipartUploadPartsAction},
					[]string{conversion.UploadPrefix, conversion.InboxPrefix}},
				grant{slices.Concat(reading, writing, []auth.Action{auth.DeleteObjectAction}), []string{conversion.MP3Prefix}}),
		},
	}
}

// GetUserAccount returns the account of an access key.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	for _, other := range a.others {
		if access == other.Access {
			return other.Account, nil
		}
	}
	return a.IAMService.GetUserAccount(access)
}

// statements are those of a bucket's policy that let the accounts do what they may.
func (a accounts) statements(bucket string) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for _, other := range a.others {
		for _, g := range other.grants {
			resources := []string{auth.ResourceArnPrefix + bucket}
			if len(g.prefixes) > 0 {
				resources = nil
			}
			for _, prefix := range g.prefixes {
				resources = append(resources, auth.ResourceArnPrefix+bucket+"/"+prefix+"*")
			}
			statement, err := json.Marshal(map[string]any{"Effect": "Allow", "Principal": other.Access, "Action": g.actions, "Resource": resources})
			if err != nil {
				return nil, err
			}
			all = append(all, statement)
		}
	}
	return all, nil
}

// GetBucketPolicy returns the bucket's policy with those statements added. The
// server asks for it at each request of an account other than root.
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
	statements, err := n.accounts.statements(bucket)
	if err != nil {
		return nil, err
	}
	policy.Statement = append(policy.Statement, statements...)
	return json.Marshal(policy)
}
