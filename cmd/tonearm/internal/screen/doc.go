// Package screen shows how far the files of a command are, on standard error.
//
// On a terminal it draws a block of lines below everything else: one for each file
// under way, those that move before those that wait, as many as there is room for,
// and a total at the end. Elsewhere it prints plain lines from time to time. What
// the command prints meanwhile goes through it, so that lines and block do not mix.
// No control character of a name or a message reaches the terminal.
package screen
