package main

import (
	"net/netip"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/product"
)

// registryOptions say how registries are spoken to.
type registryOptions struct {
	plainHTTP   []string
	authorities []string
	config      string
	tables      bool
}

func (o *registryOptions) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.plainHTTP, "plain-http", nil, "`registry` (host or host:port) that is spoken to without TLS; may be repeated")
	flags.StringArrayVar(&o.authorities, "registry-ca", nil, "`file` with certificate authorities, in PEM form, to trust besides the system's; may be repeated")
	flags.StringVar(&o.config, "registry-config", "", "`folder` with a hosts.toml for each registry, as containerd has it: mirrors, certificate authorities, client certificates")
	flags.BoolVar(&o.tables, "toc", false, "read layers of eStargz and zstd:chunked images through their tables of contents: faster, but nothing proves that the rest of the layer agrees with its table")
}

// scanner makes a scanner that reads from those registries. Its errors are of
// files that the options name.
func (o *registryOptions) scanner(stopEarly bool) (*imagescan.Scanner, error) {
	// Whoever runs this chose the registry: loopback is as good as any.
	anywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	tls, err := imagescan.WithCertificates(o.authorities)
	if err != nil {
		return nil, err
	}
	connections := imagescan.TransportOptions{PlainHTTP: o.plainHTTP, Allow: anywhere, TLS: tls}
	var hosts *imagescan.Hosts
	if o.config != "" {
		if hosts, err = imagescan.LoadHosts(o.config, connections); err != nil {
			return nil, err
		}
	}
	return imagescan.New(imagescan.Options{
		Analyze:     inspect.File,
		Other:       inspect.Other,
		Settings:    product.Settings,
		IsCandidate: product.IsExecutable,
		IsHint:      product.Hinted,
		Libraries:   imagescan.Libraries{Is: inspect.IsLibrary, Resolve: inspect.Resolve},
		Transport:   imagescan.NewTransport(connections),
		Hosts:       hosts,
		PlainHTTP:   o.plainHTTP,
		UserAgent:   "capvet/" + version,
		StopEarly:   stopEarly,
		Tables:      o.tables,
	})
}

// keychain are the credentials of docker login and its helpers.
type keychain struct{}

// For implements imagescan.Credentials.
func (keychain) For(repository name.Repository) []authn.Authenticator {
	auth, err := authn.DefaultKeychain.Resolve(repository)
	if err != nil {
		return nil // anonymously, then: the registry will say if that is not enough
	}
	return []authn.Authenticator{auth}
}
