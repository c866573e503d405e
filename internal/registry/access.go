package registry

import (
	"fmt"
	"path"
	"slices"
)

// Access restricts the registries that may be read, by globs (path.Match) of
// host or host:port, such as *.example.com. Docker Hub is docker.io.
type Access struct {
	// Allow lists the only permitted registries; empty means all.
	Allow []string
	// Deny lists refused registries, and takes precedence over Allow.
	Deny []string
}

// validate returns an error for the first malformed glob.
func (a Access) validate() error {
	for _, glob := range slices.Concat(a.Allow, a.Deny) {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("registry %q: %w", glob, err)
		}
	}
	return nil
}

// check returns an error that wraps ErrBlocked for a refused registry.
func (a Access) check(host string) error {
	host = configName(host)
	matches := func(glob string) bool {
		ok, err := path.Match(glob, host)
		return ok && err == nil
	}
	if slices.ContainsFunc(a.Deny, matches) || len(a.Allow) > 0 && !slices.ContainsFunc(a.Allow, matches) {
		return fmt.Errorf("%w: an administrator does not permit the registry %s", ErrBlocked, host)
	}
	return nil
}
