// Package certs has the webhook's serving certificate: made and rotated by
// capvet itself and shared by its replicas in a Secret, or read from files that
// somebody else keeps. In both cases it tells whether the API server, going by
// the caBundle of the webhook configuration, accepts what is served.
//
// It is not a certificate authority: a certificate of its own making is
// self-signed, stands in the caBundle itself and can sign nothing else. The
// Secret and the webhook configuration are trusted as far as whoever may write
// them is: what does not parse is replaced, and nothing in them makes capvet
// serve a key that does not belong to its certificate.
//
// Rotation libraries for this exist, such as
// github.com/open-policy-agent/cert-controller v0.16. That one replaces the CA
// and the certificate at once and leaves the replicas to find out, so that for
// a while some serve what the caBundle does not hold; and it lists and watches
// all Secrets of the namespace and all webhook configurations. Here the
// caBundle holds a certificate before anybody serves it, and for as long as
// anybody may.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// clockSkew is how far the clock of whoever verifies a certificate may be
// behind the clock of whoever made it.
const clockSkew = 24 * time.Hour

// pair is a certificate with its key.
type pair struct {
	certificate *x509.Certificate
	certPEM     []byte
	keyPEM      []byte
	tls         *tls.Certificate
}

// newPair makes a self-signed certificate for the given DNS names and IP
// addresses, valid from clockSkew ago until lifetime from now.
func newPair(names []string, now time.Time, lifetime time.Duration) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "capvet"},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// A certificate that says it is no CA cannot be misused as one.
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %q: %w", names, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return parsePair(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	)
}

// parsePair reads a certificate and its key from PEM.
func parsePair(certPEM, keyPEM []byte) (*pair, error) {
	if len(certPEM) == 0 || len(keyPEM) == 0 {
		return nil, errors.New("no certificate or no key")
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return &pair{certificate: c.Leaf, certPEM: certPEM, keyPEM: keyPEM, tls: &c}, nil
}

// usable reports whether the certificate is for all of the names and has not
// expired. Whether it is valid yet is for its verifiers' clocks to say.
func (p *pair) usable(names []string, now time.Time) bool {
	if p == nil || !now.Before(p.certificate.NotAfter) {
		return false
	}
	for _, name := range names {
		if p.certificate.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// parseBundle reads the certificates of a PEM bundle. Blocks that are none, or
// do not parse, are left out.
func parseBundle(bundle []byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return certificates
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			certificates = append(certificates, c)
		}
	}
}

func encodeBundle(certificates []*x509.Certificate) []byte {
	var bundle []byte
	for _, c := range certificates {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return bundle
}
