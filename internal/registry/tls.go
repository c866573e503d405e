package registry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WithCertificates returns a TLS configuration that trusts the certificate
// authorities in PEM files besides the system's. Without files it returns nil.
func WithCertificates(files []string) (*tls.Config, error) {
	if len(files) == 0 {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	return config, trust(config, files)
}

// trust adds certificate authorities to a configuration.
func trust(config *tls.Config, files []string) error {
	system, err := x509.SystemCertPool()
	if err != nil {
		system = x509.NewCertPool()
	}
	pool := cmp.Or(config.RootCAs, system).Clone()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("certificate authorities of registries: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate in PEM form", file)
		}
	}
	config.RootCAs = pool
	return nil
}

// tls adds the TLS settings of a hosts.toml to a configuration, and returns the
// files that it read.
func (fields hostFields) tls(base *tls.Config, dir string) (_ *tls.Config, files []string, _ error) {
	config := cmp.Or(base, &tls.Config{MinVersion: tls.VersionTLS12}).Clone()
	config.InsecureSkipVerify = fields.SkipVerify
	locate := func(file string) string {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		files = append(files, file)
		return file
	}
	authorities, err := stringsOf(fields.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("ca: %w", err)
	}
	if len(authorities) > 0 {
		for i := range authorities {
			authorities[i] = locate(authorities[i])
		}
		if err := trust(config, authorities); err != nil {
			return nil, nil, err
		}
	}
	pairs, err := clientPairs(fields.Client)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	for _, pair := range pairs {
		certificate, err := tls.LoadX509KeyPair(locate(pair[0]), locate(pair[1]))
		if err != nil {
			return nil, nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return config, files, nil
}

// stringsOf converts a TOML value that may be one string or several.
func stringsOf(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var all []string
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("%v is no string", one)
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%v is neither a string nor a list of strings", value)
}

// clientPairs converts the key client of a hosts.toml to pairs of a certificate
// file and a key file. One file may hold both.
func clientPairs(value any) (pairs [][2]string, _ error) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	for _, one := range list {
		files, err := stringsOf(one)
		switch {
		case err != nil:
			return nil, err
		case len(files) == 1:
			pairs = append(pairs, [2]string{files[0], files[0]})
		case len(files) == 2 && files[1] != "":
			pairs = append(pairs, [2]string(files))
		default:
			return nil, errors.New("give a certificate and its key")
		}
	}
	return pairs, nil
}
