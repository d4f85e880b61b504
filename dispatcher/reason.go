package dispatcher

import (
	"fmt"

	"tonearm/internal/attempt"
	"tonearm/internal/conversion"
	"tonearm/internal/launch"
)

// reasonOf says what the end of a launch means for a conversion whose record
// still waits for the result.
func reasonOf(e launch.End) (conversion.Failure, conversion.Outcome) {
	switch e.Reason {
	case launch.OutOfMemory:
		return conversion.Failure{Code: conversion.CodeOutOfMemory,
			Message: "The conversion needed more memory than it may use."}, conversion.Counted
	case launch.Deadline:
		return conversion.TookTooLong, conversion.Counted
	case launch.Disrupted, launch.Stopped:
		return lost, conversion.Disrupted
	case launch.NotStarted:
		return notStarted, conversion.Counted
	case launch.Exited:
		if e.ExitCode == attempt.ExitNoReport {
			return lost, conversion.Disrupted
		}
		return conversion.Failure{Code: conversion.CodeCrashed,
			Message: fmt.Sprintf("The converter stopped without a result (exit code %d).", e.ExitCode)}, conversion.Counted
	}
	return conversion.Failure{Code: conversion.CodeCrashed,
		Message: "The converter was killed before it was done."}, conversion.Counted
}

var (
	notStarted = conversion.Failure{Code: conversion.CodeLaunchFailed, Message: "The conversion could not be started."}
	// lost is the failure of an attempt that nobody knows the fate of.
	lost = conversion.Failure{Code: conversion.CodeLost, Message: "The machine that was converting the file failed or was shut down."}
	// silent is the failure of an attempt that does not report any more.
	silent = conversion.Failure{Code: conversion.CodeLost, Message: "The converter did not answer any more and was stopped."}
)
