package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// registryOptions configure the access to registries.
type registryOptions struct {
	registry.Options
	authorities []string
	tables      bool
	timeout     time.Duration // for each image; 0: none
}

// defaultTimeout is the time to read one image.
const defaultTimeout = 5 * time.Minute

func (o *registryOptions) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.PlainHTTP, "plain-http", nil, "`registry` (host or host:port) that is spoken to without TLS; may be repeated")
	flags.StringArrayVar(&o.authorities, "registry-ca", nil,
		"`file` with certificate authorities, in PEM form, to trust besides the system's; may be repeated")
	flags.StringVar(&o.HostsDir, "registry-config", "",
		"`folder` with a hosts.toml for each registry, as containerd has it: mirrors, certificate authorities, client certificates")
	flags.BoolVar(&o.tables, "toc", false,
		"read layers of eStargz and zstd:chunked images through their tables of contents: faster, "+
			"but nothing proves that the rest of the layer agrees with its table")
	flags.DurationVar(&o.timeout, "timeout", defaultTimeout, "time to read one image; 0: no limit")
}

// scanner returns a scanner with these options. It fails on the files that they
// name.
func (o *registryOptions) scanner(stopEarly bool) (*imagescan.Scanner, error) {
	if o.timeout < 0 {
		return nil, exitError{exitUsage, fmt.Errorf("--timeout %s: give a positive time, or 0 for no limit", o.timeout)}
	}
	limits := imagescan.Limits{ScanTime: o.timeout}
	if o.timeout == 0 {
		limits.ScanTime = math.MaxInt64
	}
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
	return imagescan.New(imagescan.Options{
		Inspector: inspect.Inspector(), Registry: client, StopEarly: stopEarly, TOC: o.tables, Limits: limits,
	})
}

// read calls scan within the timeout. An image that takes longer has an error that
// names the flag.
func (o *registryOptions) read(ctx context.Context, request imagescan.Request,
	scan func(context.Context, imagescan.Request) (report.Report, error)) (report.Report, error) {
	if o.timeout == 0 {
		return scan(ctx, request)
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	r, err := scan(limited, request)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = &imagescan.Error{Class: report.FailureTimeout, Reference: request.Reference,
			Err: fmt.Errorf("it was not read within %s (--timeout gives more time)", o.timeout)}
	}
	return r, err
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
