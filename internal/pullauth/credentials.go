// Package pullauth finds the credentials for a Pod's images by a kubelet's rules:
// the Pod's imagePullSecrets, else its ServiceAccount's; every entry that matches
// the image's repository, in order; then those of a kubelet's credential provider
// plugins, if configured.
//
// It reads secrets one at a time and by name, and never logs their content. The
// administrator's plugins and their configuration are trusted.
package pullauth

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// entry is one credential with its key in a docker configuration.
type entry struct {
	host, path string // host may hold globs; path is empty or starts with a slash
	config     authn.AuthConfig
	rank       int // 0 for a secret's; 1 for a plugin's, which are tried after those
}

// matches reports whether the key matches a repository. Its path is a plain
// prefix, as for a kubelet: /team matches /team-a/app too.
func (e entry) matches(repository name.Repository) bool {
	return matchesHost(e.host, repository.RegistryStr()) && strings.HasPrefix("/"+repository.RepositoryStr(), e.path)
}

// Credentials are the credentials of a Pod's secrets and of plugins. The zero
// value is empty.
type Credentials struct{ entries []entry }

// For returns the credentials that match a repository in a kubelet's order: by
// descending key, and those of plugins last.
func (c *Credentials) For(repository name.Repository) []authn.Authenticator {
	var matching []entry
	for _, e := range c.entries {
		if e.matches(repository) {
			matching = append(matching, e)
		}
	}
	slices.SortStableFunc(matching, func(a, b entry) int {
		return cmp.Or(a.rank-b.rank, cmp.Compare(b.host+b.path, a.host+a.path))
	})
	var authenticators []authn.Authenticator
	seen := map[authn.AuthConfig]bool{}
	for _, e := range matching {
		if !seen[e.config] {
			seen[e.config] = true
			authenticators = append(authenticators, authn.FromConfig(e.config))
		}
	}
	return authenticators
}

// add adds a credential under a key of a docker configuration. It ignores a
// malformed key.
func (c *Credentials) add(key string, config authn.AuthConfig) {
	if e, ok := parseKey(key); ok {
		e.config = config
		c.entries = append(c.entries, e)
	}
}

// parseKey returns an entry with a key of a docker configuration: a host with
// optional scheme, port and path.
func parseKey(key string) (entry, bool) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil || u.Host == "" {
		return entry{}, false
	}
	host, path := u.Host, u.Path
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		host = name.DefaultRegistry
	}
	// docker login writes the version of the API before the repository's path.
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
		path = path[len("/v1"):]
	}
	if path == "/" {
		path = ""
	}
	return entry{host: host, path: path}, true
}

// matchesHost matches a host label by label: a glob does not span a dot. Ports
// must be equal.
func matchesHost(pattern, host string) bool {
	// Hostname removes the brackets from an IPv6 address, which are a character
	// class in a glob.
	p, h := url.URL{Host: pattern}, url.URL{Host: host}
	patternParts, hostParts := strings.Split(p.Hostname(), "."), strings.Split(h.Hostname(), ".")
	if p.Port() != h.Port() || len(patternParts) != len(hostParts) {
		return false
	}
	for i := range patternParts {
		if matched, err := path.Match(patternParts[i], hostParts[i]); err != nil || !matched {
			return false
		}
	}
	return true
}
