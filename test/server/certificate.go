package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificates writes an authority's certificate, ca.pem, into dir, and two
// certificates that it signed, with their keys: server.pem and server-key.pem
// for host, client.pem and client-key.pem.
func certificates(dir, host string) error {
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Authority of tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := certificate(dir, "ca", authority, authorityKey, authority, authorityKey); err != nil {
		return err
	}
	for name, c := range map[string]*x509.Certificate{
		"server": {
			Subject: pkix.Name{CommonName: "Server of tests"}, IPAddresses: []net.IP{net.ParseIP(host)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		"client": {
			Subject:     pkix.Name{CommonName: "Client of tests"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		if err := certificate(dir, name, c, key, authority, authorityKey); err != nil {
			return err
		}
	}
	return nil
}

// certificate writes c and its key, signed by parent.
func certificate(dir, name string, c *x509.Certificate, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) error {
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	signed, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem":     {Type: "CERTIFICATE", Bytes: signed},
		name + "-key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o644); err != nil { //nolint:gosec // see Open
			return err
		}
	}
	return nil
}
