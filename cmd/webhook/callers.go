package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// callerOptions say who may ask for reviews.
type callerOptions struct {
	file  string
	names []string
}

func (o *callerOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.file, "client-ca-file", "", "`file` with the certificate authorities, in PEM form, of the client certificates without which no review is answered; read again when it changes; empty: everybody may ask")
	flags.Func("client-name", "common or DNS `name` in the client certificate of who may ask; may be repeated, needed with --client-ca-file", addTo(&o.names))
}

func (o *callerOptions) validate() error {
	if (o.file == "") != (len(o.names) == 0) {
		return errors.New("give both --client-ca-file and --client-name, or neither: an authority signs certificates of others than the API server too")
	}
	return nil
}

// callers tells whether who asks may. The zero value lets everybody.
type callers struct {
	options callerOptions

	mu      sync.Mutex
	read    os.FileInfo // of the file, when it was read
	trusted *x509.CertPool
}

// newCallers reads the certificate authorities once, so that a mistake shows at
// the start.
func newCallers(o callerOptions) (*callers, error) {
	c := &callers{options: o}
	if o.file == "" {
		return c, nil
	}
	_, err := c.authorities()
	return c, err
}

// tls has clients asked for a certificate, and one that is shown verified. One
// that is missing is refused later, with an answer that says so.
func (c *callers) tls(config *tls.Config) {
	if c.options.file == "" {
		return
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		trusted, err := c.authorities()
		if trusted == nil {
			return nil, err
		}
		own := config.Clone()
		own.GetConfigForClient = nil
		own.ClientAuth, own.ClientCAs = tls.VerifyClientCertIfGiven, trusted
		return own, nil
	}
}

// authorities returns those of the file, read anew if it has changed. Where it
// cannot be read those that were stay.
func (c *callers) authorities() (*x509.CertPool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.options.file)
	if err == nil && c.read != nil && info.ModTime().Equal(c.read.ModTime()) && info.Size() == c.read.Size() {
		return c.trusted, nil
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(c.options.file)
	}
	if err != nil {
		return c.trusted, fmt.Errorf("reading --client-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return c.trusted, fmt.Errorf("--client-ca-file: %s holds no certificate in PEM form", c.options.file)
	}
	c.read, c.trusted = info, pool
	return pool, nil
}

// admit answers those who may not ask, before anything of what they send is
// read.
func (c *callers) admit(next http.Handler) http.Handler {
	if c.options.file == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.TLS == nil || len(r.TLS.VerifiedChains) == 0:
			w.Header().Set("Connection", "close")
			http.Error(w, "show the API server's client certificate", http.StatusUnauthorized)
		case !c.named(r.TLS.VerifiedChains[0][0], time.Now()):
			w.Header().Set("Connection", "close")
			http.Error(w, "the client certificate is not the API server's", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// named reports whether a certificate has one of the names, and is still valid:
// a connection may be older than it.
func (c *callers) named(certificate *x509.Certificate, now time.Time) bool {
	if now.After(certificate.NotAfter) {
		return false
	}
	names := append([]string{certificate.Subject.CommonName}, certificate.DNSNames...)
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && slices.Contains(c.options.names, name) })
}
