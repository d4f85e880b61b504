package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"go.mongodb.org/mongo-driver/v2/bson"

	"tonearm/internal/conversion"
)

// spoiled are cells without a fault. After everything is done somebody spoils
// the result on the servers, and the cell must be red for it: they show that the
// harness sees what it looks for.
var spoiled = []fault{
	{name: "self-lost", text: "a document is removed", tune: spoils(removeDocument, "lost", "orphan", "mails")},
	{name: "self-document", text: "a document is added", tune: spoils(addDocument, "documents", "mails")},
	{name: "self-failed", text: "a document says failed", tune: spoils(failDocument, "failed", "orphan")},
	{name: "self-mp3", text: "an MP3 becomes zeros", tune: spoils(zeroMP3, "mp3")},
	{name: "self-orphan", text: "an object is added", tune: spoils(addObject, "orphan")},
	{name: "self-mail", text: "a mail comes twice", tune: spoils(repeatMail, "mails")},
	{name: "self-queue", text: "a message is added", tune: spoils(addMessage, "pending")},
	{name: "self-log", text: "a log is flooded", tune: spoils(writeLog(strings.Repeat("{}\n", 5000)), "log")},
	{name: "self-json", text: "a log gets a line that is not JSON", tune: spoils(writeLog("[mysql] unexpected EOF\n"), "log")},
	{name: "self-down", text: "a service is gone", tune: spoils(kill(serviceOf("notifier")), "down")},
	{name: "self-unproven", text: "the fault never begins", tune: tune{
		flow:    func(ctx context.Context, r *run) error { r.begin(ctx); return nil },
		wantRed: []string{"unproven"},
	}},
}

func spoils(what act, want ...string) tune { return tune{flow: nothing, spoil: what, wantRed: want} }

// finished returns the conversion that was done last.
func (r *run) finished() (conversion.Conversion, error) {
	for i := len(r.seen.documents) - 1; i >= 0; i-- {
		if d := r.seen.documents[i]; d.State == conversion.Done {
			return d, nil
		}
	}
	return conversion.Conversion{}, errors.New("nothing is done")
}

func removeDocument(ctx context.Context, r *run) error {
	d, err := r.finished()
	if err == nil {
		_, err = r.documents.DeleteOne(ctx, bson.M{"_id": d.ID})
	}
	return err
}

func addDocument(ctx context.Context, r *run) error {
	d, err := r.finished()
	if err != nil {
		return err
	}
	d.ID, d.IdempotencyKey, d.MP3.ID, d.Object.Key = d.ID+"-2", "nobody", "other", "uploads/other"
	_, err = r.documents.InsertOne(ctx, d)
	return err
}

func failDocument(ctx context.Context, r *run) error {
	d, err := r.finished()
	if err == nil {
		_, err = r.documents.UpdateOne(ctx, bson.M{"_id": d.ID}, bson.M{"$set": bson.M{
			"state": conversion.Failed, "error": conversion.Failure{Code: conversion.CodeInternal},
		}})
	}
	return err
}

func zeroMP3(ctx context.Context, r *run) error {
	d, err := r.finished()
	if err == nil {
		zeros := make([]byte, d.MP3.Size)
		_, err = r.objects.PutObject(ctx, bucket, d.MP3.Key, bytes.NewReader(zeros), d.MP3.Size, minio.PutObjectOptions{})
	}
	return err
}

func addObject(ctx context.Context, r *run) error {
	_, err := r.objects.PutObject(ctx, bucket, "uploads/nobody/nothing/source", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	return err
}

func repeatMail(_ context.Context, r *run) error {
	b, err := os.ReadFile(filepath.Join(r.mail.Dir, "000001.eml"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.mail.Dir, "999999.eml"), b, 0o600) //nolint:gosec // a folder of this run
}

func addMessage(ctx context.Context, r *run) error {
	return r.queue.HSet(ctx, prefix+":{gpu}:messages", "x", "{}").Err()
}

func writeLog(text string) act {
	return func(_ context.Context, r *run) error {
		f, err := os.OpenFile(r.services["gateway"].Log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(text)
		return err
	}
}
