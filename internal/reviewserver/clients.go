package reviewserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// clients authenticates clients by their certificates. Without a file of
// certificate authorities any client is admitted.
type clients struct {
	file  string
	names []string

	mu   sync.Mutex
	read os.FileInfo // of the file, at the time of the last read
	pool *x509.CertPool
}

// newClients reads the certificate authorities, so that a mistake ends the start.
func newClients(file string, names []string) (*clients, error) {
	c := &clients{file: file, names: names}
	if file == "" {
		return c, nil
	}
	_, err := c.authorities()
	return c, err
}

// configure returns the TLS configuration of one handshake: base with a request
// for a client certificate, or nil for no change. A missing certificate does not
// end the handshake; authenticate refuses the request with an explanation.
func (c *clients) configure(base *tls.Config) (*tls.Config, error) {
	if c.file == "" {
		return nil, nil
	}
	pool, err := c.authorities()
	if pool == nil {
		return nil, err
	}
	config := base.Clone()
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, pool
	return config, nil
}

// authorities returns the certificate authorities of the file, read again if it
// has changed. If it cannot be read, the previous ones stay in use.
func (c *clients) authorities() (*x509.CertPool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.file)
	if err == nil && c.read != nil && info.ModTime().Equal(c.read.ModTime()) && info.Size() == c.read.Size() {
		return c.pool, nil
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(c.file)
	}
	if err != nil {
		return c.pool, fmt.Errorf("reading --client-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return c.pool, fmt.Errorf("--client-ca-file: %s holds no certificate in PEM form", c.file)
	}
	c.read, c.pool = info, pool
	return pool, nil
}

// authenticate returns the HTTP status and the reason for which a request is
// refused, or http.StatusOK and nil.
func (c *clients) authenticate(state *tls.ConnectionState) (int, error) {
	switch {
	case c.file == "":
		return http.StatusOK, nil
	case state == nil || len(state.VerifiedChains) == 0:
		return http.StatusUnauthorized, errors.New("show the API server's client certificate")
	case !c.accepts(state.VerifiedChains[0][0], time.Now()):
		return http.StatusForbidden, errors.New("the client certificate is not the API server's")
	}
	return http.StatusOK, nil
}

// accepts reports whether a certificate has one of the names and is still valid:
// it can expire while its connection is open.
func (c *clients) accepts(certificate *x509.Certificate, now time.Time) bool {
	if now.After(certificate.NotAfter) {
		return false
	}
	names := append([]string{certificate.Subject.CommonName}, certificate.DNSNames...)
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && slices.Contains(c.names, name) })
}
