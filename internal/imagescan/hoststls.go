package imagescan

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
)

// tls adds what the fields say to a TLS configuration, and returns the files that
// it read for that.
func (of hostFields) tls(base *tls.Config, dir string) (_ *tls.Config, files []string, _ error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		config = base.Clone()
	}
	config.InsecureSkipVerify = of.SkipVerify
	in := func(file string) string {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		files = append(files, file)
		return file
	}
	authorities, err := stringsOf(of.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("ca: %w", err)
	}
	if len(authorities) > 0 {
		pool := config.RootCAs
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				pool = x509.NewCertPool()
			}
		}
		pool = pool.Clone()
		for _, file := range authorities {
			if err := appendCertificates(pool, in(file)); err != nil {
				return nil, nil, err
			}
		}
		config.RootCAs = pool
	}
	pairs, err := clientPairs(of.Client)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	for _, pair := range pairs {
		certificate, err := tls.LoadX509KeyPair(in(pair[0]), in(pair[1]))
		if err != nil {
			return nil, nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return config, files, nil
}

// stringsOf reads a value that may be one string or several.
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

// clientPairs reads certificates and keys: files that hold both, or lists of two.
func clientPairs(value any) ([][2]string, error) {
	if list, ok := value.([]any); ok {
		var pairs [][2]string
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
	files, err := stringsOf(value)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	return [][2]string{{files[0], files[0]}}, nil
}
