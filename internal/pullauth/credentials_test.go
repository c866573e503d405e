package pullauth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func TestFor(t *testing.T) {
	tests := []struct {
		name  string
		keys  []string
		image string
		want  []string // the keys whose credentials are tried, in order
	}{
		{"host", []string{"example.com", "other.com"}, "example.com/a", []string{"example.com"}},
		{"scheme", []string{"https://example.com"}, "example.com/a", []string{"https://example.com"}},
		{"v2 path", []string{"https://example.com/v2/"}, "example.com/a", []string{"https://example.com/v2/"}},
		{"port", []string{"example.com", "example.com:5000", "example.com:5001"}, "example.com:5000/a", []string{"example.com:5000"}},
		{"glob", []string{"*.example.com", "*.com"}, "a.example.com/a", []string{"*.example.com"}},
		{"a glob stays within a part", []string{"*.com"}, "a.example.com/a", nil},
		{"glob in a part", []string{"reg*.example.com"}, "registry.example.com/a", []string{"reg*.example.com"}},
		{"path prefix", []string{"example.com/team", "example.com/te", "example.com/other"}, "example.com/team/app",
			[]string{"example.com/team", "example.com/te"}},
		{"a slash ends a prefix", []string{"example.com/team/", "example.com/te/"}, "example.com/team/app", []string{"example.com/team/"}},
		{"whole path", []string{"example.com/team/app"}, "example.com/team/app", []string{"example.com/team/app"}},
		{"longest first", []string{"example.com", "example.com/team/app", "example.com/team"}, "example.com/team/app",
			[]string{"example.com/team/app", "example.com/team", "example.com"}},
		{"Docker Hub", []string{"https://index.docker.io/v1/"}, "haproxy", []string{"https://index.docker.io/v1/"}},
		{"Docker Hub, short", []string{"docker.io"}, "library/haproxy:3.0", []string{"docker.io"}},
		{"Docker Hub, path", []string{"docker.io/team"}, "docker.io/team/a", []string{"docker.io/team"}},
		{"not a key", []string{"https://", "::"}, "example.com/a", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Credentials{}
			for _, key := range tt.keys {
				c.add(key, authn.AuthConfig{Username: key, Password: "p"})
			}
			if diff := cmp.Diff(tt.want, users(t, c, tt.image)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// users returns the users of the credentials that are tried for an image.
func users(t *testing.T, c *Credentials, image string) []string {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range c.For(ref.Context()) {
		config, err := a.Authorization()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, config.Username)
	}
	return names
}

func TestForTriesACredentialOnce(t *testing.T) {
	c := &Credentials{}
	for _, key := range []string{"example.com", "https://example.com", "example.com/a"} {
		c.add(key, authn.AuthConfig{Username: "u", Password: "p"})
	}
	if got := users(t, c, "example.com/a/b"); len(got) != 1 {
		t.Errorf("%d attempts with one credential", len(got))
	}
}
