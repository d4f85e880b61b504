package main

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tonearm/internal/api"
	"tonearm/internal/client"
)

const (
	shortLength = 8    // of short ids
	leastShort  = 4    // characters that find a conversion
	lookThrough = 1000 // newest conversions, for a short id
)

// short returns the end of an id. Its beginning is a time, which conversions of the
// same minute share.
func short(id string) string { return id[max(0, len(id)-shortLength):] }

// resolve returns the id that the user means: a whole one, or the end of one of the
// newest conversions.
func resolve(cmd *cobra.Command, c *client.Client, given string) (string, error) {
	if len(given) < leastShort || uuid.Validate(given) == nil || strings.Trim(strings.ToLower(given), "0123456789abcdef-") != "" {
		return given, nil // the server says whether there is such a one
	}
	var found []api.Conversion
	err := eachConversion(cmd, c, nil, lookThrough, func(cv api.Conversion) error {
		if strings.HasSuffix(cv.ID, strings.ToLower(given)) {
			found = append(found, cv)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", unknownID(given)
	case len(found) > 1:
		return "", fmt.Errorf("%d conversions end in %s, such as %s and %s; give more of the id", len(found), given, found[0].ID, found[1].ID)
	}
	return found[0].ID, nil
}
