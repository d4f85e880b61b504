package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// options are what convert asks the server for. Their flags are made from
// conversion.Fields.
type options struct {
	conversion.Options
	notify conversion.NotifyPreference // '' for the server's own
}

// bind adds the flags, each with its group and the values that a shell offers.
func (o *options) bind(cmd *cobra.Command) {
	for _, field := range conversion.Fields {
		if field.Flag == "" {
			continue
		}
		words := field.Complete
		for _, v := range field.Values {
			if field.Complete == nil {
				words = append(words, fmt.Sprint(v))
			}
		}
		set := func(s string) error { return o.set(field, s) }
		addFlag(cmd, field.Flag, field.Group, optionUsage(field), words, &flagValue{field.Operand, set})
	}
	words := []string{string(conversion.NotifyEmail), string(conversion.NotifyFailures), string(conversion.NotifyNone)}
	addFlag(cmd, "notify", "", "whether you get a mail at the end: email, failures (only if it failed) or none (default: none; with --no-wait, what your account says)", words, &flagValue{"HOW", func(s string) error {
		if !slices.Contains(words, s) {
			return errors.New("it takes email, failures or none")
		}
		o.notify = conversion.NotifyPreference(s)
		return nil
	}})
}

// addFlag adds a flag under a heading of the help, or under that of cmd/internal/env
// if heading is empty. A shell offers the words.
func addFlag(cmd *cobra.Command, name, heading, usage string, words []string, value *flagValue) {
	cmd.Flags().Var(value, name, usage)
	if heading != "" {
		command.SetHeading(cmd.Flags(), name, heading)
	}
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
}

// flagValue is a flag without a value of its own.
type flagValue struct {
	operand string // as the help names it
	set     func(string) error
}

func (v *flagValue) Set(s string) error { return v.set(s) }
func (v *flagValue) String() string     { return "" }
func (v *flagValue) Type() string       { return v.operand }

// optionUsage describes an option in the help.
func optionUsage(f conversion.Field) string {
	text := f.Text
	if allowed := spoken(f).Allowed(); allowed != "" && f.Length == 0 {
		text += ": " + allowed
	}
	return strings.ReplaceAll(text+" (default: "+f.Otherwise()+")", "`", "")
}

// spoken returns the field as the command line takes it: with times as people
// write them.
func spoken(f conversion.Field) conversion.Field {
	if f.Unit == "seconds" {
		f.Max, f.Unit, f.Form = nil, "", "a time, as seconds or [h:]m:s"
	}
	return f
}

// set takes the value of one flag. It does not check limits; check does.
func (o *options) set(f conversion.Field, s string) error {
	value, err := parseOption(f, s)
	if err != nil {
		return fmt.Errorf("it takes %s", spoken(f).Allowed())
	}
	names := strings.Split(f.Path, ".")
	for _, name := range slices.Backward(names) {
		value = map[string]any{name: value}
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &o.Options) // which keeps the rest
}

// parseOption reads the value of a flag: an int, a float64 or a string.
func parseOption(f conversion.Field, s string) (any, error) {
	switch {
	case f.Type == conversion.TypeString || slices.Contains(f.Values, any(s)):
		return s, nil
	case f.Unit == "seconds":
		return parseClock(s)
	case f.Type == conversion.TypeInteger:
		return strconv.Atoi(s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		err = errors.New("not a number")
	}
	return v, err
}

// parseClock reads a time: seconds, m:s or h:m:s. The seconds may have a
// fraction. It returns seconds.
func parseClock(s string) (float64, error) {
	wrong := fmt.Errorf("%q is not a time; write 90, 1:30 or 1:02:03.5", s)
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return 0, wrong
	}
	total := 0.0
	for i, part := range parts {
		digits := "0123456789"
		if i == len(parts)-1 {
			digits += "."
		}
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || strings.Trim(part, digits) != "" || i > 0 && v >= 60 {
			return 0, wrong
		}
		total = 60*total + v
	}
	return total, nil
}

// multipartAbove is the size in bytes above which a video is uploaded in parts.
// The size decides a part of the request. With another value, interrupted uploads
// of the sizes between start again from their beginning.
const multipartAbove = 64 << 20

// request is what convert asks the server for, for a file of size bytes. Whoever
// waits needs no mail.
func (o *options) request(name string, size int64, waits bool) api.NewConversion {
	notify := o.notify
	if notify == "" && waits {
		notify = conversion.NotifyNone
	}
	return api.NewConversion{Filename: name, Size: size, Parts: size > multipartAbove, Options: &o.Options, Notify: notify}
}

// check returns what is wrong with the options, with the flag's name.
func (o *options) check(cmd *cobra.Command) error {
	if o.Loudness != nil && !cmd.Flags().Changed("loudness") { // a ceiling alone
		preset := conversion.Options{Preset: o.Preset}.Resolved().Loudness
		if preset == nil {
			return usageError{errors.New("--true-peak: it needs --loudness too, or a preset with a loudness (voice, podcast)")}
		}
		o.Loudness.TargetLUFS = preset.TargetLUFS
	}
	err := o.Validate()
	var wrong *conversion.OptionError
	if !errors.As(err, &wrong) {
		return err
	}
	f, _ := conversion.FieldAt(wrong.Field)
	return usageError{fmt.Errorf("--%s: %s", f.Flag, wrong.Message)}
}
