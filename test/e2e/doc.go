// Package e2e holds the tests that run Tonearm's own programs as their users
// do. The programs run all in one process on embedded stores, or one process
// for each service on the real servers that test/servers starts.
package e2e
