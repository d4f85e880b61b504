// Package files finds the videos of a command line and decides where their MP3s
// go, before anything is sent.
//
// The order is that of the command line, and by name within a folder. Where two
// MP3s would have the same name, the later one in this order gets a number. So the
// names do not depend on what finishes first. No file is ever overwritten.
package files
