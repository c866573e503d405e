package imagescan

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registries says which registries are read from, by globs (path.Match) of host
// or host:port, such as *.example.com. Docker Hub is docker.io.
type Registries struct {
	// Allow, if there is any, are the only ones.
	Allow []string
	// Deny are never; Deny wins.
	Deny []string
}

// Check reports the first glob that is broken.
func (r Registries) Check() error {
	for _, glob := range append(append([]string{}, r.Allow...), r.Deny...) {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("registry %q: %w", glob, err)
		}
	}
	return nil
}

// permit refuses a registry.
func (r Registries) permit(host string) error {
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	matches := func(globs []string) bool {
		for _, glob := range globs {
			if ok, err := path.Match(glob, host); ok && err == nil {
				return true
			}
		}
		return false
	}
	if matches(r.Deny) || len(r.Allow) > 0 && !matches(r.Allow) {
		return fmt.Errorf("%w: an administrator does not permit the registry %s", errBlocked, host)
	}
	return nil
}

// WithCertificates returns a TLS configuration that trusts the certificate
// authorities of PEM files besides those of the system. No file: the system's.
func WithCertificates(files []string) (*tls.Config, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		if err := appendCertificates(pool, file); err != nil {
			return nil, err
		}
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func appendCertificates(pool *x509.CertPool, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("certificate authorities of registries: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return nil
}
