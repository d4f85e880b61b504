// Package quota keeps users within their limits.
//
// A [Meter] says whether there is room for another upload or conversion of a user.
// What a user takes follows from the records. A meter counts them once in a while
// and adds what it admitted since, so that admitting costs no query. Before it
// refuses, it counts anew: what has ended makes room within a second. Other
// processes admit by meters of their own, which see each other's conversions at the
// next count, half a minute later at the most.
//
// [Slots] limit what is open at a time in one process, such as requests that wait.
// They go with the process.
package quota
