// Package e2e holds the tests that run Tonearm's own programs, as their users
// do: all in one process on embedded stores, and one process a service on the
// real servers that test/servers starts.
package e2e
