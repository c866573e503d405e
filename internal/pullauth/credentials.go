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
	fallback   bool // of a plugin: tried after those of secrets
}

// matches reports whether the key matches a repository. Its path is a plain
// prefix, as for a kubelet: /team matches /team-a/app too.
func (e entry) matches(host, repositoryPath string) bool {
	return matchesHost(e.host, host) && strings.HasPrefix(repositoryPath, e.path)
}

// Credentials are the credentials of a Pod's secrets and of plugins. The zero
// value is empty.
type Credentials struct{ entries []entry }

// For returns the credentials that match a repository in a kubelet's order: by
// descending key, and those of plugins last.
func (c *Credentials) For(repository name.Repository) []authn.Authenticator {
	host, repositoryPath := repository.RegistryStr(), "/"+repository.RepositoryStr()
	var matching []entry
	for _, e := range c.entries {
		if e.matches(host, repositoryPath) {
			matching = append(matching, e)
		}
	}
	slices.SortStableFunc(matching, func(a, b entry) int {
		if a.fallback != b.fallback {
			return map[bool]int{false: -1, true: 1}[a.fallback]
		}
		return cmp.Compare(b.host+b.path, a.host+a.path)
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
	if host, path, ok := splitKey(key); ok {
		c.entries = append(c.entries, entry{host: host, path: path, config: config})
	}
}

// addFallback adds the credentials of a plugin.
func (c *Credentials) addFallback(entries []entry) {
	for _, e := range entries {
		e.fallback = true
		c.entries = append(c.entries, e)
	}
}

// splitKey parses a key of a docker configuration: a host with optional scheme,
// port and path.
func splitKey(key string) (host, path string, ok bool) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil || u.Host == "" {
		return "", "", false
	}
	host, path = u.Host, u.Path
	if isDockerHub(host) {
		host = name.DefaultRegistry
	}
	// docker login writes the version of the API before the repository's path.
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
		path = path[len("/v1"):]
	}
	if path == "/" {
		path = ""
	}
	return host, path, true
}

func isDockerHub(host string) bool {
	return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io"
}

// splitPort removes the port from a host, and the brackets from an IPv6 address,
// which are a character class in a glob.
func splitPort(host string) (name, port string) {
	u := url.URL{Host: host}
	return u.Hostname(), u.Port()
}

// matchesHost matches a host label by label: a glob does not span a dot. Ports
// must be equal.
func matchesHost(pattern, host string) bool {
	patternName, patternPort := splitPort(pattern)
	hostName, hostPort := splitPort(host)
	patternParts, hostParts := strings.Split(patternName, "."), strings.Split(hostName, ".")
	if patternPort != hostPort || len(patternParts) != len(hostParts) {
		return false
	}
	for i := range patternParts {
		if matched, err := path.Match(patternParts[i], hostParts[i]); err != nil || !matched {
			return false
		}
	}
	return true
}
