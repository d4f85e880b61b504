package main

import (
	"testing"

	"tonearm/cmd/internal/env/envtest"
)

func TestFlagsAreKnown(t *testing.T) { envtest.Known(t, newCommand()) }
