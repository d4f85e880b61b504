package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"go.mongodb.org/mongo-driver/v2/bson"

	"tonearm/internal/conversion"
	"tonearm/internal/queue"
)

// seen is what the servers hold, read from them directly: no fault and no
// program of Tonearm stands between.
type seen struct {
	documents []conversion.Conversion
	objects   []string          // keys of uploads and MP3s
	sums      map[string]string // SHA-256 of MP3s, by key
	mails     map[string]int    // how often each came, by Message-ID
	messages  int64             // in the queue
}

// document returns what became of the upload with an idempotency key.
func (s *seen) document(key string) (conversion.Conversion, bool) {
	for _, d := range s.documents {
		if d.IdempotencyKey == key {
			return d, true
		}
	}
	return conversion.Conversion{}, false
}

// see reads the servers. sums of earlier keeps, since an object that has been
// written once may only be written again with the same bytes: it is read again
// at the end.
func (w *world) see(ctx context.Context, again bool, earlier map[string]string) (*seen, error) {
	ctx, cancel := context.WithTimeout(ctx, w.seeLimit)
	defer cancel()
	s := &seen{sums: map[string]string{}, mails: map[string]int{}}
	found, err := w.documents.Find(ctx, bson.M{})
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	if err := found.All(ctx, &s.documents); err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	for _, class := range queue.Classes {
		n, err := w.queue.HLen(ctx, prefix+":{"+string(class)+"}:messages").Result()
		if err != nil {
			return nil, fmt.Errorf("count messages: %w", err)
		}
		s.messages += n
	}
	for o := range w.objects.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list objects: %w", o.Err)
		}
		s.objects = append(s.objects, o.Key)
		if !strings.HasPrefix(o.Key, conversion.MP3Prefix) {
			continue
		}
		if sum, ok := earlier[o.Key]; ok && !again {
			s.sums[o.Key] = sum
			continue
		}
		if s.sums[o.Key], err = w.sum(ctx, o.Key); err != nil {
			return nil, err
		}
	}
	return s, s.letters(w.mail.Dir)
}

// sum returns the SHA-256 of an object; "" if it is gone.
func (w *world) sum(ctx context.Context, key string) (string, error) {
	o, err := w.objects.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	defer o.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, o); minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// letters counts the mails in a folder.
func (s *seen) letters(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		m, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("%s is no mail: %w", f, err)
		}
		s.mails[m.Header.Get("Message-Id")]++
	}
	return nil
}
