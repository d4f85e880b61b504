package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"

	"tonearm/gateway"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/mail/filemail"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/service"
)

// openRecords opens the database for conversions and users, each only if the
// options have no store for them.
func (r *instance) openRecords(context.Context) error {
	file := r.data.path("tonearm.db")
	if r.Records == nil {
		records, err := sqliteconversion.Open(file)
		if err != nil {
			return err
		}
		r.Records = records
		r.defers(func() { records.Close() })
	}
	if r.Users == nil {
		users, err := sqlaccount.OpenSQLite(file)
		if err != nil {
			return err
		}
		r.Users = users
		r.defers(func() { users.Close() })
	}
	return nil
}

func (r *instance) openQueue(ctx context.Context) error {
	if r.Queue != nil {
		return nil
	}
	redis, err := embedded.StartRedis(ctx)
	if err != nil {
		return err
	}
	r.defers(redis.Close)
	messages, err := redisqueue.Open(redis.URL(), redisqueue.DefaultPrefix)
	if err != nil {
		return err
	}
	r.Queue = messages
	r.defers(func() { messages.Close() })
	return nil
}

func (r *instance) openObjects(ctx context.Context) (err error) {
	if r.S3.Endpoint == "" {
		store, err := embedded.StartS3(ctx, embedded.S3Options{
			Dir: r.data.path("s3"), Listen: r.S3Listen, WebhookURL: r.ownDispatcher() + "/events/s3", WebhookToken: r.EventToken, Connections: r.Limits.Connections, Log: r.Log,
			Destroyed: func(objects []embedded.StoredObject) { r.destroyed <- objects },
		})
		if errors.Is(err, syscall.EADDRINUSE) {
			return service.ListenError("s3-listen", r.S3Listen, err)
		}
		if err != nil {
			return err
		}
		r.defers(store.Close)
		r.S3.Endpoint, r.S3.AccessKey, r.S3.SecretKey = store.Endpoint(), store.AccessKey(), store.SecretKey()
		if err := r.saveInboxKey(store.InboxKeys()); err != nil {
			return err
		}
	}
	if len(r.S3.CORSOrigins) == 0 {
		if r.S3.CORSOrigins, err = gateway.Origins(r.Gateway.PublicURL, r.Gateway.CORSOrigins); err != nil {
			return err
		}
	}
	r.S3.Log = r.Log
	r.objects, err = s3blob.New(r.S3)
	return err
}

// saveInboxKey writes the file for S3 clients that upload into the inbox.
func (r *instance) saveInboxKey(access, secret string) error {
	r.inboxKey = r.data.path("inbox.env")
	text := fmt.Sprintf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_ENDPOINT_URL='%s'\nexport AWS_REGION='%s'\n",
		access, secret, cmp.Or(r.S3.PublicEndpoint, r.S3.Endpoint), cmp.Or(r.S3.Region, s3blob.DefaultRegion))
	if err := r.data.replace("inbox.env", text); err != nil {
		return fmt.Errorf("save the key of the inbox: %w", err)
	}
	return nil
}

func (r *instance) openSender(context.Context) (err error) {
	if r.Sender == nil {
		r.Sender, err = filemail.New(r.data.path("outbox"))
	}
	return err
}
