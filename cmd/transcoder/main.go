// Command transcoder carries out one attempt. A dispatcher's launcher starts
// it, with everything it needs in its environment; its exit codes are in
// package attempt.
package main

import (
	"os"

	"tonearm/cmd/internal/attemptenv"
)

func main() { os.Exit(attemptenv.Run()) }
