package main

import (
	"net/netip"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/registry"
)

// registryOptions configure the access to registries.
type registryOptions struct {
	registry.Options
	authorities []string
	tables      bool
}

func (o *registryOptions) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.PlainHTTP, "plain-http", nil, "`registry` (host or host:port) that is spoken to without TLS; may be repeated")
	flags.StringArrayVar(&o.authorities, "registry-ca", nil,
		"`file` with certificate authorities, in PEM form, to trust besides the system's; may be repeated")
	flags.StringVar(&o.HostsDir, "registry-config", "",
		"`folder` with a hosts.toml for each registry, as containerd has it: mirrors, certificate authorities, client certificates")
	flags.BoolVar(&o.tables, "toc", false,
		"read layers of eStargz and zstd:chunked images through their tables of contents: faster, "+
			"but nothing proves that the rest of the layer agrees with its table")
}

// scanner returns a scanner with these options. It fails on the files that they
// name.
func (o *registryOptions) scanner(stopEarly bool) (*imagescan.Scanner, error) {
	var err error
	if o.TLS, err = registry.WithCertificates(o.authorities); err != nil {
		return nil, err
	}
	// The user chose the registry: loopback is permitted too.
	o.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	o.UserAgent = "capvet/" + version
	client, err := registry.NewClient(o.Options)
	if err != nil {
		return nil, err
	}
	return imagescan.New(imagescan.Options{Inspector: inspect.Inspector(), Registry: client, StopEarly: stopEarly, TOC: o.tables})
}

// keychain holds the credentials of docker login and its helpers.
type keychain struct{}

// For implements imagescan.Credentials.
func (keychain) For(repository name.Repository) []authn.Authenticator {
	auth, err := authn.DefaultKeychain.Resolve(repository)
	if err != nil {
		return nil // anonymous access, which the registry may refuse
	}
	return []authn.Authenticator{auth}
}
