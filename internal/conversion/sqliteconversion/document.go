package sqliteconversion

import (
	"bytes"
	"encoding/json"
	"fmt"

	"tonearm/internal/conversion"
)

// document is a conversion as the file keeps it, in JSON.
type document []byte

// Decode returns the conversion in it.
func (d document) Decode() (conversion.Conversion, error) {
	var c conversion.Conversion
	if err := json.Unmarshal(d, &c); err != nil {
		return conversion.Conversion{}, fmt.Errorf("decode document: %w", err)
	}
	return c, nil
}

// rewritten returns the document that replaces stored. The fields that
// Conversion knows change from before to after; all others are kept.
func rewritten(stored document, before, after conversion.Conversion) (document, error) {
	was, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	is, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(stored, was) { // as this version writes it: nothing in it belongs to another one
		return is, nil
	}
	merged, err := merge(json.RawMessage(stored), was, is)
	return document(merged), err
}

// merge returns after. If after is an object, it also gets the fields of stored
// that are neither in before nor in after: they belong to another version.
func merge(stored, before, after json.RawMessage) (json.RawMessage, error) {
	if !isObject(stored) || !isObject(after) {
		return after, nil
	}
	var old, known, next map[string]json.RawMessage
	if err := json.Unmarshal(stored, &old); err != nil {
		return nil, err
	}
	if isObject(before) {
		if err := json.Unmarshal(before, &known); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(after, &next); err != nil {
		return nil, err
	}
	for name, value := range next {
		merged, err := merge(old[name], known[name], value)
		if err != nil {
			return nil, err
		}
		next[name] = merged
	}
	for name, value := range old {
		_, had := known[name]
		if _, has := next[name]; !had && !has {
			next[name] = value
		}
	}
	return json.Marshal(next)
}

func isObject(value json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(value), []byte("{"))
}
