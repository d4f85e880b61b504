// Package server starts the real servers that tests want, and other programs
// beside them, each in a process of its own with its files in a scratch folder.
// They die with the process that started them.
package server
