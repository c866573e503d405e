// Package certs makes and rotates the webhook's serving certificate, which the
// replicas share in a Secret. For this certificate, and for one read from files,
// it checks that the API server accepts it by the caBundle of the webhook
// configuration.
//
// It is not a certificate authority: its certificates are self-signed, stand in
// the caBundle themselves and cannot sign others. The Secret and the webhook
// configuration are trusted as much as their writers. Data that does not parse is
// replaced, and no data makes capvet serve a key that does not belong to its
// certificate.
//
// Rotation libraries exist, such as github.com/open-policy-agent/cert-controller
// v0.16. It replaces the CA and the certificate at once, so that for a while some
// replicas serve a certificate that the caBundle does not hold; and it lists and
// watches all Secrets of the namespace and all webhook configurations. Here the
// caBundle holds a certificate before any replica serves it, and for as long as
// one may serve it.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// clockSkew is how far a verifier's clock may be behind the clock of the replica that
// made the certificate.
const clockSkew = 24 * time.Hour

// pair is a certificate with its key.
type pair struct {
	certificate     *x509.Certificate
	certPEM, keyPEM []byte
	tls             *tls.Certificate
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
		// With IsCA unset: the certificate cannot be misused as a CA.
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
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return &pair{certificate: c.Leaf, certPEM: certPEM, keyPEM: keyPEM, tls: &c}, nil
}

// usable reports whether the certificate is for all of the names and has not
// expired. NotBefore is not checked, since verifiers go by their own clocks.
func (p *pair) usable(names []string, now time.Time) bool {
	if p == nil || !now.Before(p.certificate.NotAfter) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool { return p.certificate.VerifyHostname(name) != nil })
}

// parseBundle returns the certificates of a PEM bundle. It skips blocks of other types
// and certificates that do not parse.
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
