// Package env is the environment twins of flags: --s3-bucket is
// TONEARM_S3_BUCKET.
package env

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const prefix = "TONEARM_"

// renamed maps flags of earlier releases to their present names. A program that
// has the new flag does not start with the old one.
var renamed = map[string]string{}

// Name returns the variable of a flag.
func Name(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Set sets every flag that the command line leaves out from its variable. A
// variable of a renamed flag is an error.
func Set(flags *pflag.FlagSet) error { return set(flags, renamed) }

func set(flags *pflag.FlagSet, renamed map[string]string) error {
	var errs []error
	for _, old := range slices.Sorted(maps.Keys(renamed)) {
		if _, ok := os.LookupEnv(Name(old)); ok && flags.Lookup(renamed[old]) != nil {
			errs = append(errs, renaming(old, renamed[old]))
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "version" {
			return
		}
		if value, ok := os.LookupEnv(Name(f.Name)); ok && !f.Changed {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, invalid(Name(f.Name), err))
			}
		}
	})
	return errors.Join(errs...)
}

// FlagError says in an error of the command line what a flag takes, and what a
// renamed flag is called now.
func FlagError(flags *pflag.FlagSet, err error) error { return flagError(flags, err, renamed) }

func flagError(flags *pflag.FlagSet, err error, renamed map[string]string) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if now, ok := renamed[unknown.GetSpecifiedName()]; ok && flags.Lookup(now) != nil {
			return renaming(unknown.GetSpecifiedName(), now)
		}
	}
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		return invalid("--"+wrong.GetFlag().Name, err)
	}
	return err
}

// invalid says what a flag takes whose value, given by name, is wrong.
func invalid(name string, err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s: %w", name, err)
	}
	takes := wrong.Unwrap().Error()
	switch f := wrong.GetFlag(); {
	case f.Value.Type() == "int", f.Value.Type() == "int64":
		takes = "it takes a whole number"
	case f.Value.Type() == "duration":
		takes = "it takes a duration such as 30s, 10m or 24h"
	case f.Value.Type() == "bool":
		takes = "it takes true or false"
	case f.Name == "log-level":
		takes = "it takes debug, info, warn or error"
	}
	return fmt.Errorf("%s: %s, not %q", name, takes, wrong.GetValue())
}

func renaming(old, now string) error {
	return fmt.Errorf("--%s was renamed to --%s (%s)", old, now, Name(now))
}

// Warn logs the variables that begin like Tonearm's and that no program knows.
func Warn(log *slog.Logger) {
	if unknown := Unknown(os.Environ()); len(unknown) > 0 {
		log.Warn("environment variables that no Tonearm program knows are ignored", "variables", unknown)
	}
}

// Unknown returns the names, sorted, of the variables in environ (KEY=value)
// that begin like Tonearm's but that no Tonearm program knows. If a name is
// close to a known one, it comes with the known one.
func Unknown(environ []string) []string {
	var unknown []string
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, prefix) || isKnown(name) || ofTests(name) || ofKubernetes(name, value) {
			continue
		}
		if meant := closest(name); meant != "" {
			name += " (is it " + meant + "?)"
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}

func isKnown(name string) bool {
	return slices.Contains(others, name) || slices.ContainsFunc(flags, func(f string) bool { return Name(f) == name })
}

// ofTests reports whether a variable speaks to the tests and the Makefile.
func ofTests(name string) bool {
	return strings.HasPrefix(name, prefix+"TEST_") || name == prefix+"CACHE" || name == prefix+"UPGRADE_FROM" || name == prefix+"NODE"
}

var (
	serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	address     = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// ofKubernetes reports whether a variable is one of those that Kubernetes gives
// each container for each service, such as TONEARM_GATEWAY_SERVICE_HOST and
// _PORT=tcp://… for tonearm-gateway.
func ofKubernetes(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && address.MatchString(value)
}

// closest returns the known name that differs from name in at most two letters,
// or the empty string if no name does.
func closest(name string) string {
	best, least := "", 3
	for _, f := range flags {
		if d := distance(name, Name(f)); d < least {
			best, least = Name(f), d
		}
	}
	for _, other := range others {
		if d := distance(name, other); d < least {
			best, least = other, d
		}
	}
	return best
}

// distance counts the letters to insert, remove or replace that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
