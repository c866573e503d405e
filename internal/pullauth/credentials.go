// Package pullauth finds the credentials with which a Pod's images are pulled,
// by a kubelet's rules: the Pod's imagePullSecrets, else its ServiceAccount's;
// every entry that matches the image's repository, one after the other.
//
// It is not for node-level credentials or cloud providers' helpers. Secrets are
// read one at a time and by name; what they hold is never logged.
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
}

// Credentials are what a Pod's secrets hold. The zero value holds nothing.
type Credentials struct{ entries []entry }

// For returns the credentials that match a repository, those with the longest
// key first, as a kubelet tries them.
func (c *Credentials) For(repository name.Repository) []authn.Authenticator {
	host, repositoryPath := repository.RegistryStr(), "/"+repository.RepositoryStr()
	var matching []entry
	for _, e := range c.entries {
		// A plain prefix, as for a kubelet: /team is one of /team-a/app too.
		if matchesHost(e.host, host) && strings.HasPrefix(repositoryPath, e.path) {
			matching = append(matching, e)
		}
	}
	slices.SortStableFunc(matching, func(a, b entry) int { return cmp.Compare(b.host+b.path, a.host+a.path) })
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

// add files a credential under a key of a docker configuration: a host, with or
// without scheme, port and path.
func (c *Credentials) add(key string, config authn.AuthConfig) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil || u.Host == "" {
		return // no registry has such a name
	}
	e := entry{host: u.Host, path: u.Path, config: config}
	if isDockerHub(e.host) {
		e.host = name.DefaultRegistry
	}
	// docker login writes the API's version before the repository's path.
	if strings.HasPrefix(e.path, "/v1/") || strings.HasPrefix(e.path, "/v2/") {
		e.path = e.path[len("/v1"):]
	}
	if e.path == "/" {
		e.path = ""
	}
	c.entries = append(c.entries, e)
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
