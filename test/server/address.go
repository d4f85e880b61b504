package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
)

// minioConsolePort is one that MinIO does not listen on if its console, although
// switched off, has the same by default.
const minioConsolePort = 13333

// FreeAddr returns a loopback address that was free a moment ago. Its port is
// below those that systems choose by themselves. So no other program gets it
// before a program listens there, or while that program is restarted.
func FreeAddr(ctx context.Context) (string, error) {
	for range 100 {
		port := 10_000 + mathrand.IntN(22_000)
		if port == minioConsolePort {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no free port was found")
}

// SigningKey writes a key as openssl genpkey -algorithm ed25519 does.
func SigningKey(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
