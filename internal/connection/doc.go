// Package connection bounds what slow and idle clients of a listener can hold:
// how many connections at a time, from one address and in all, and how long a
// body may take to come.
//
// A connection without a request under way is idle. Where a limit is reached,
// the connection that has been idle longest makes room: for an address that has
// all it may have, one of its own. Only where none is idle a new connection is
// refused, with status 429. So whoever opens thousands of connections and sends
// nothing keeps nobody else out.
//
// A Table is told of connections by the hooks of an HTTP server. It serves
// net/http and fasthttp alike, and no listener has to be wrapped.
package connection
