// Package embedded is the S3 and Redis servers that `tonearm up` and the tests
// start for themselves. They listen on loopback.
package embedded
