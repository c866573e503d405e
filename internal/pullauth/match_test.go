package pullauth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// TestKeys checks that keys match as they do for a kubelet.
func TestKeys(t *testing.T) {
	tests := []struct {
		name, key, image string
		want             bool
	}{
		{"API version before a path", "https://example.com/v2/team", "example.com/team/a", true},
		{"API version before another path", "https://example.com/v2/team", "example.com/other/a", false},
		{"API version alone", "example.com/v1/", "example.com/a", true},
		{"API version without a slash", "example.com/v1", "example.com/a", false},
		{"prefix of a part", "example.com/team", "example.com/team-a/app", true},
		{"API version further on", "example.com/team/v1", "example.com/team/a", false},
		{"version-like path", "example.com/v3", "example.com/a", false},
		{"plain http", "http://example.com", "example.com/a", true},
		{"trailing slash", "example.com/", "example.com/a", true},
		{"IPv6", "[::1]:5000", "[::1]:5000/a", true},
		{"another IPv6", "[::2]:5000", "[::1]:5000/a", false},
		{"IPv6, other port", "[::1]:5001", "[::1]:5000/a", false},
		{"IPv4", "127.0.0.1:5000", "127.0.0.1:5000/a", true},
		{"glob and port", "*.example.com:5000", "r.example.com:5000/a", true},
		{"glob, other port", "*.example.com:5001", "r.example.com:5000/a", false},
		{"glob and path", "*.example.com/team", "r.example.com/team/a", true},
		{"glob, other path", "*.example.com/team", "r.example.com/a", false},
		{"one glob for each part", "*.*.com", "r.example.com/a", true},
		{"too many parts", "*.*.*.com", "r.example.com/a", false},
		{"no glob in ports", "example.com:*", "example.com:5000/a", false},
		{"no glob in ports, nor for none", "example.com:*", "example.com/a", false},
		{"no glob in paths", "example.com/*", "example.com/team/a", false},
		{"broken glob", "[.example.com", "r.example.com/a", false},
		{"no bare suffix", "ample.com", "example.com/a", false},
		{"Docker Hub's registry", "registry-1.docker.io", "haproxy", true},
		{"Docker Hub, other registry", "docker.io", "example.com/haproxy", false},
		{"other registry, Docker Hub", "example.com", "haproxy", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Credentials{}
			c.add(tt.key, authn.AuthConfig{Username: "u", Password: "p"})
			if got := len(users(t, c, tt.image)) == 1; got != tt.want {
				t.Errorf("%q for %s: %v", tt.key, tt.image, got)
			}
		})
	}
}

func TestForReturnsAll(t *testing.T) {
	c := &Credentials{}
	for _, user := range []string{"old", "new", "newest"} { // a rotation under way
		c.add("example.com", authn.AuthConfig{Username: user})
	}
	c.add("example.com/team", authn.AuthConfig{Username: "team"})
	c.add("*.com", authn.AuthConfig{Username: "any"})
	if diff := cmp.Diff([]string{"team", "old", "new", "newest", "any"}, users(t, c, "example.com/team/a")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestForZeroValue(t *testing.T) {
	ref, err := name.ParseReference("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Credentials{}).For(ref.Context()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
