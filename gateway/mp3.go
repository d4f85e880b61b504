package gateway

import (
	"context"
	"net/http"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

func describeMP3(c conversion.Conversion) api.MP3 {
	m := c.MP3
	var until *time.Time
	if !c.MP3Until.IsZero() {
		until = new(c.MP3Until)
	}
	return api.MP3{
		Until: until, Removed: c.MP3Gone,
		ID: m.ID, ConversionID: c.ID, Name: conversion.MP3Name(c.Filename), Size: m.Size, Duration: m.Duration,
		BitrateKbps: m.BitrateKbps, VBRQuality: m.VBRQuality, SampleRateHz: m.SampleRate, Channels: m.Channels,
		SHA256: m.SHA256, LengthChecked: m.LengthChecked, Encoder: m.Encoder, CreatedAt: m.CreatedAt,
		Loudness: m.Loudness, GainDB: m.GainDB, Cover: m.Cover, Chapters: m.Chapters, Notes: m.Notes,
	}
}

type mp3Input struct {
	ID string `path:"mp3_id" doc:"ID of the MP3, as in the mail"`
}

type mp3Output struct{ Body api.MP3 }

type mp3sOutput struct{ Body api.MP3s }

type redirectOutput struct {
	Status   int
	Location string `header:"Location" doc:"A presigned link that works for some minutes"`
}

// result returns the conversion whose finished MP3 has this id.
func (g *Gateway) result(ctx context.Context, id string) (conversion.Conversion, error) {
	if !isID(id) {
		return conversion.Conversion{}, conversion.ErrNotFound
	}
	c, err := g.o.Records.ByMP3(ctx, id)
	if err == nil && c.State != conversion.Done {
		err = conversion.ErrNotFound
	}
	return c, err
}

func (g *Gateway) ownResult(ctx context.Context, user account.User, id string) (conversion.Conversion, error) {
	c, err := g.result(ctx, id)
	if err != nil {
		return c, err
	}
	return c, checkOwner(c, user)
}

func (g *Gateway) mp3(ctx context.Context, user account.User, in *mp3Input) (*mp3Output, error) {
	c, err := g.ownResult(ctx, user, in.ID)
	if err != nil {
		return nil, err
	}
	return &mp3Output{Body: describeMP3(c)}, nil
}

func (g *Gateway) mp3s(ctx context.Context, user account.User, in *PageInput) (*mp3sOutput, error) {
	page, next, err := g.page(ctx, user, *in, []conversion.State{conversion.Done})
	if err != nil {
		return nil, err
	}
	out := &mp3sOutput{Body: api.MP3s{MP3s: []api.MP3{}, Next: next}}
	for _, c := range page {
		out.Body.MP3s = append(out.Body.MP3s, describeMP3(c))
	}
	return out, nil
}

func (g *Gateway) mp3Download(ctx context.Context, user account.User, in *mp3Input) (*redirectOutput, error) {
	c, err := g.ownResult(ctx, user, in.ID)
	if err != nil {
		return nil, err
	}
	link, err := g.link(ctx, c)
	return &redirectOutput{Status: http.StatusFound, Location: link}, err
}

// link returns a presigned link that saves the MP3 under the video's name.
func (g *Gateway) link(ctx context.Context, c conversion.Conversion) (string, error) {
	if c.MP3Gone {
		return "", refuse(http.StatusGone, "mp3_removed", "This MP3 was removed at the end of its time. To get it again, upload the video again.")
	}
	r, err := g.o.Objects.PresignGet(ctx, c.MP3.Key, conversion.MP3Name(c.Filename), "audio/mpeg", g.o.DownloadExpiry, blob.Public)
	return r.URL, err
}

// download is the plain form. It is for a logged-in user, or for whoever has
// the link from a mail.
func (g *Gateway) download(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	find := g.result
	if token := query.Get("token"); token == "" {
		user, err := g.identifyForm(r, account.ScopeRead)
		if err != nil {
			return err
		}
		find = func(ctx context.Context, id string) (conversion.Conversion, error) { return g.ownResult(ctx, user, id) }
	} else if granted, err := g.o.Tokens.VerifyDownload(token); err != nil || granted != query.Get("mp3_id") {
		return refuse(http.StatusForbidden, "link_invalid",
			"This link has expired, or part of it is missing. Your MP3 may still be there. Log in to download it.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), quick)
	defer cancel()
	c, err := find(ctx, query.Get("mp3_id"))
	if err != nil {
		return err
	}
	link, err := g.link(ctx, c)
	if err != nil {
		return err
	}
	w.Header().Set("Location", link)
	w.WriteHeader(http.StatusFound)
	return nil
}
