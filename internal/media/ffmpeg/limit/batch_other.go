//go:build !linux

package limit

func batch() {}
