package mongoconversion

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"tonearm/internal/conversion"
)

// document is a conversion as the server keeps it.
type document bson.Raw

// Decode returns the conversion in it.
func (d document) Decode() (conversion.Conversion, error) {
	var c conversion.Conversion
	if err := bson.Unmarshal(d, &c); err != nil {
		return conversion.Conversion{}, fmt.Errorf("decode document: %w", err)
	}
	return c, nil
}

// updateOf returns the update operators that turn stored into a new document.
// The fields that Conversion knows change from before to after. The operators
// name no other field.
func updateOf(stored document, before, after conversion.Conversion) (bson.D, error) {
	was, err := bson.Marshal(before)
	if err != nil {
		return nil, err
	}
	is, err := bson.Marshal(after)
	if err != nil {
		return nil, err
	}
	elements, err := bson.Raw(is).Elements()
	if err != nil {
		return nil, err
	}
	set, unset := bson.D{}, bson.D{}
	for _, e := range elements {
		// Settle writes these two without raising the revision, so the stored
		// ones may differ from those that were read.
		settled := e.Key() == "outbox" || e.Key() == "wake_at"
		had := bson.Raw(was).Lookup(e.Key())
		if had.Equal(e.Value()) && !settled {
			continue
		}
		value, err := merge(bson.Raw(stored).Lookup(e.Key()), had, e.Value())
		if err != nil {
			return nil, err
		}
		set = append(set, bson.E{Key: e.Key(), Value: value})
	}
	if elements, err = bson.Raw(was).Elements(); err != nil {
		return nil, err
	}
	for _, e := range elements {
		if bson.Raw(is).Lookup(e.Key()).IsZero() {
			unset = append(unset, bson.E{Key: e.Key(), Value: ""})
		}
	}
	update := bson.D{{Key: "$set", Value: set}}
	if len(unset) > 0 { // the server refuses an empty one
		update = append(update, bson.E{Key: "$unset", Value: unset})
	}
	return update, nil
}

// merge returns after. If after is a document, it also gets the fields of
// stored that are neither in before nor in after: they belong to another
// version.
func merge(stored, before, after bson.RawValue) (bson.RawValue, error) {
	old, wasDocument := stored.DocumentOK()
	next, isDocument := after.DocumentOK()
	if !wasDocument || !isDocument {
		return after, nil
	}
	known, _ := before.DocumentOK()
	elements, err := next.Elements()
	if err != nil {
		return after, err
	}
	fields := bson.D{}
	for _, e := range elements {
		value, err := merge(old.Lookup(e.Key()), known.Lookup(e.Key()), e.Value())
		if err != nil {
			return after, err
		}
		fields = append(fields, bson.E{Key: e.Key(), Value: value})
	}
	if elements, err = old.Elements(); err != nil {
		return after, err
	}
	for _, e := range elements {
		if known.Lookup(e.Key()).IsZero() && next.Lookup(e.Key()).IsZero() {
			fields = append(fields, bson.E{Key: e.Key(), Value: e.Value()})
		}
	}
	merged, err := bson.Marshal(fields)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: merged}, err
}
