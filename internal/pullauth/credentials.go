// Package pullauth finds the credentials with which a Pod's images are pulled,
// by a kubelet's rules: the Pod's imagePullSecrets, else its ServiceAccount's;
// every entry that matches the image's repository, one after the other. After
// them come a kubelet's credential provider plugins, where some are configured.
//
// Secrets are read one at a time and by name; what they hold is never logged.
// Plugins and their configuration are the administrator's, and trusted.
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

// entry is one registry's credential, under the key that chose it.
type entry struct {
	host, path string // host may hold globs; path is empty or starts with a slash
	config     authn.AuthConfig
	fallback   bool // a plugin's: tried after what the secrets hold
}

// matches reports whether a repository falls under the key. Its path is a plain
// prefix, as for a kubelet: /team is one of /team-a/app too.
func (e entry) matches(host, repositoryPath string) bool {
	return matchesHost(e.host, host) && strings.HasPrefix(repositoryPath, e.path)
}

// Credentials are what a Pod's secrets hold, and plugins say. The zero value
// holds nothing.
type Credentials struct{ entries []entry }

// For returns the credentials that match a repository as a kubelet tries them:
// those with the longest key first, and the plugins' after all others.
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

// add files a credential under a key of a docker configuration. A key that no
// registry can have is left out.
func (c *Credentials) add(key string, config authn.AuthConfig) {
	if host, path, ok := splitKey(key); ok {
		c.entries = append(c.entries, entry{host: host, path: path, config: config})
	}
}

// addFallback adds what plugins said.
func (c *Credentials) addFallback(said []entry) {
	for _, e := range said {
		e.fallback = true
		c.entries = append(c.entries, e)
	}
}

// splitKey reads a key of a docker configuration: a host, with or without scheme,
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
	// docker login writes the API's version before the repository's path.
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

// splitPort takes the port, if any, off a host, and the brackets off an IPv6
// address, which a glob would read as a class.
func splitPort(host string) (name, port string) {
	u := url.URL{Host: host}
	return u.Hostname(), u.Port()
}

// matchesHost compares a host with a key's, part by part: a glob does not reach
// over a dot, and ports have to be the same.
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
