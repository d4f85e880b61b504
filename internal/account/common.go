package account

import (
	_ "embed" // for the list
	"slices"
	"strings"
	"sync"
)

// commonPasswords lists the most common passwords of at least
// MinPasswordLength characters, in lower case, sorted, one a line. They are the
// first of zxcvbn's list (MIT License, Dropbox), which it took from leaks.
//
//go:embed common_passwords.txt
var commonPasswords string

var commonList = sync.OnceValue(func() []string { return strings.Fields(commonPasswords) })

// common reports whether a password is a common one, in upper or lower case.
func common(password string) bool {
	_, found := slices.BinarySearch(commonList(), strings.ToLower(password))
	return found
}
