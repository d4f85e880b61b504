package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"tonearm/cmd/internal/env"
)

func configPath() string { return filepath.Join(xdg.ConfigHome, "tonearm", "config.yaml") }

// setFromConfig sets the flags that neither the command line nor the environment
// names from the user's file: YAML with the names of flags, without dashes, and
// their values. It is for all commands that talk to a server, so a flag that only
// another command has is passed over.
func setFromConfig(flags *pflag.FlagSet) error {
	b, err := os.ReadFile(configPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	values := map[string]any{}
	if err == nil {
		b, err = yaml.YAMLToJSONStrict(b)
	}
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(b))
		decoder.UseNumber()
		err = decoder.Decode(&values)
	}
	if err != nil {
		return fmt.Errorf("cannot read your settings in %s: %w. Each line there is the name of a flag, a colon and its value", configPath(), err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f := flags.Lookup(name)
		switch {
		case !env.Known(name) || name == "help" || name == "version":
			errs = append(errs, fmt.Errorf("%s: there is no flag --%s", configPath(), name))
		case f == nil || f.Changed:
		default:
			if err := flags.Set(name, settingOf(values[name])); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", configPath(), env.FlagError(flags, err)))
			}
		}
	}
	return errors.Join(errs...)
}

// settingOf writes a value as on the command line; a list with commas between.
func settingOf(value any) string {
	if list, ok := value.([]any); ok {
		var words []string
		for _, v := range list {
			words = append(words, fmt.Sprint(v))
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(value)
}
