package account

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCheckPassword(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 7: false, 9: true, 1024: true, 1025: false} {
		if err := CheckPassword(strings.Repeat("x", n)); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestCommonPasswords(t *testing.T) {
	for password, ok := range map[string]bool{
		"password": false, "PassWord": false, "12345678": false, "qwertyuiop": false,
		"correct horse": true, "password is a word": true, "ééééé": true,
	} {
		if err := CheckPassword(password); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
	if n := len(commonList()); n != 10_000 || !slices.IsSorted(commonList()) {
		t.Errorf("%d common passwords, sorted: %t", n, slices.IsSorted(commonList()))
	}
}
