package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tonearm/internal/conversion"
)

// sourceDestroyed is why a conversion fails whose source is no longer what was
// uploaded.
var sourceDestroyed = conversion.Failure{
	Code:    conversion.CodeSourceChanged,
	Message: "The server lost power, and the uploaded file was damaged there. Upload it again.",
}

// Destroyed makes up for objects that the store has lost the content of. A
// conversion whose MP3 is among them is queued again if its source is not. One that
// still needs a source among them fails. Nothing is removed.
func (d *Dispatcher) Destroyed(ctx context.Context, keys []string) error {
	lost := map[string]bool{}
	for _, key := range keys {
		lost[key] = true
	}
	var errs []error
	for _, key := range keys {
		if err := d.makeUp(ctx, key, lost); err != nil {
			errs = append(errs, fmt.Errorf("make up for a destroyed object: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (d *Dispatcher) makeUp(ctx context.Context, key string, lost map[string]bool) error {
	id, ok := conversion.ParseUploadKey(key)
	if rest, found := strings.CutPrefix(key, conversion.MP3Prefix); found {
		parts := strings.Split(rest, "/")
		if ok = len(parts) == 3; ok {
			id = parts[1]
		}
	}
	if !ok { // a drop into the inbox has no conversion before it is read
		d.o.Log.Error("the store lost an object's content", "prefix", strings.SplitAfter(key, "/")[0])
		return nil
	}
	c, changed, err := d.update(ctx, id, func(c *conversion.Conversion) error {
		now := d.o.Now()
		switch {
		case key == c.MP3.Key && !lost[c.Object.Key]:
			return c.Redo(now)
		case key == c.Object.Key && c.State == conversion.Running:
			return c.FailAttempt(c.Attempt, sourceDestroyed, conversion.Final, d.o.Policy, now)
		case key == c.Object.Key && c.State == conversion.Queued:
			return c.Reject(sourceDestroyed, now)
		}
		return conversion.ErrUnchanged
	})
	if errors.Is(err, conversion.ErrNotFound) {
		return nil
	}
	level := d.o.Log.Warn
	if !changed {
		level = d.o.Log.Error // nothing could be done, or nothing was needed
	}
	level("the store lost an object's content", "conversion_id", id, "mp3", key == c.MP3.Key, "state", c.State, "error", err)
	if errors.Is(err, conversion.ErrState) {
		return nil
	}
	return err
}
