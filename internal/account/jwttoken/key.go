package jwttoken

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tonearm/internal/durable"
)

// Key is an Ed25519 key. Printing it shows only its id.
type Key struct {
	private ed25519.PrivateKey
	id      string
}

// ID is the key's RFC 7638 thumbprint, the kid of its tokens.
func (k Key) ID() string { return k.id }

// String keeps the key out of logs.
func (k Key) String() string { return "key " + k.id }

// GoString keeps the key out of logs.
func (k Key) GoString() string { return k.String() }

// MarshalText keeps the key out of logs and JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func newKey(private ed25519.PrivateKey) (Key, error) {
	// RFC 7638: the required members in the order of their names.
	members, err := json.Marshal(thumbprinted(private.Public()))
	if err != nil {
		return Key{}, err
	}
	sum := sha256.Sum256(members)
	return Key{private: private, id: encode(sum[:])}, nil
}

func thumbprinted(public crypto.PublicKey) jwk {
	return jwk{Curve: "Ed25519", KeyType: "OKP", X: encode(public.(ed25519.PublicKey))}
}

// ParseKeys reads Ed25519 keys from PEM blocks "PRIVATE KEY" (PKCS#8), as
// `openssl genpkey -algorithm ed25519` writes them, in their order.
func ParseKeys(data []byte) ([]Key, error) {
	var keys []Key
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "PRIVATE KEY" {
			return nil, fmt.Errorf("parse keys: there is a PEM block %q, but all must be PRIVATE KEY", block.Type)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("parse keys: a PEM block is not in PKCS#8 form; make a key with: openssl genpkey -algorithm ed25519") // the cause could quote the key
		}
		private, ok := parsed.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("parse keys: there is a key of type %T, but all must be Ed25519", parsed)
		}
		key, err := newKey(private)
		if err != nil {
			return nil, fmt.Errorf("parse keys: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("parse keys: there is no PEM block PRIVATE KEY; make a key with: openssl genpkey -algorithm ed25519")
	}
	return keys, nil
}

// LoadOrCreate reads the keys in the file at path. If there is no file, it
// makes a key and writes it there, mode 0600. If several processes do so at
// once, all get the same key. It is meant for one machine: gateways behind a
// Kubernetes Service get their keys from outside.
func LoadOrCreate(path string) ([]Key, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path); err == nil {
			data, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load signing key: %w", err)
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("load signing key %s: %w", path, err)
	}
	return keys, nil
}

// create writes a new key to path, whole or not at all. A file that somebody
// else wrote there meanwhile stays.
func create(path string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer f.Close()
	if err := pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
