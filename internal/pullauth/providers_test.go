package pullauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

const twoProviders = `
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: cloud
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.cloud.example", "docker.io/team"]
  defaultCacheDuration: 10m
  args: [get, it]
  env: [{name: REGION, value: here}]
- name: other
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["eu.cloud.example/shop"]
  defaultCacheDuration: 0s
`

// counting is a plugin that appends each request to a file of its folder, and
// returns its arguments and environment as credentials.
const counting = `#!/bin/sh
cat >>"$(dirname "$0")/runs"
printf '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry",'\
'"auth":{"*.cloud.example":{"username":"%s","password":"%s"}}}' "$*" "$REGION"
`

// loadPlugins writes a configuration and its plugins.
func loadPlugins(t *testing.T, config string, plugins map[string]string) (*Providers, string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range plugins {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadProviders(file, dir)
	return p, dir, err
}

func repository(t *testing.T, image string) name.Repository {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	return ref.Context()
}

func TestProviders(t *testing.T) {
	other := `#!/bin/sh
cat >>"$(dirname "$0")/other-runs"
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image",'\
'"auth":{"eu.cloud.example/shop":{"username":"shop","password":"p"}}}'
`
	p, dir, err := loadPlugins(t, twoProviders, map[string]string{"cloud": counting, "other": other})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		image string
		want  []string // the users that are tried, in order
		runs  string   // what the plugins were asked in all, by now
	}{
		{"elsewhere.example/app:1", []string{"secret"}, ""},
		{"eu.cloud.example/app:1", []string{"secret", "get it"}, "eu.cloud.example/app"},
		{"eu.cloud.example/app2@sha256:" + strings.Repeat("0", 64), []string{"secret", "get it"}, "eu.cloud.example/app"},
		{"us.cloud.example/app", []string{"secret", "get it"}, "eu.cloud.example/app us.cloud.example/app"},
		{"eu.cloud.example/shop/app", []string{"secret", "shop", "get it"}, "eu.cloud.example/app us.cloud.example/app"},
		{"team/app", []string{"secret"}, "eu.cloud.example/app us.cloud.example/app docker.io/team/app"},
		{"library/app", []string{"secret"}, "eu.cloud.example/app us.cloud.example/app docker.io/team/app"},
	} {
		c := &Credentials{}
		for _, key := range []string{"elsewhere.example", "eu.cloud.example", "us.cloud.example", "docker.io"} {
			c.add(key, authn.AuthConfig{Username: "secret"})
		}
		if err := p.Add(t.Context(), c, repository(t, tt.image)); err != nil {
			t.Errorf("%s: %v", tt.image, err)
		}
		if diff := cmp.Diff(tt.want, users(t, c, tt.image)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.image, diff)
		}
		if diff := cmp.Diff(tt.runs, asked(t, filepath.Join(dir, "runs"))); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", tt.image, diff)
		}
	}
	if got := asked(t, filepath.Join(dir, "other-runs")); got != "eu.cloud.example/shop/app" {
		t.Errorf("the second plugin was asked for %q", got)
	}
}

// asked returns the images of the requests in a file.
func asked(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var images []string
	for request := range strings.SplitSeq(string(text), "}") {
		if _, rest, ok := strings.Cut(request, `"image":"`); ok {
			image, _, _ := strings.Cut(rest, `"`)
			images = append(images, image)
		}
	}
	return strings.Join(images, " ")
}

func TestProvidersRememberForAsLongAsTheySay(t *testing.T) {
	for _, tt := range []struct {
		name, cacheKey, duration string
		after                    time.Duration
		image                    string
		again                    bool
	}{
		{name: "the default", cacheKey: "Image", after: 9 * time.Minute, image: "a.cloud.example/app"},
		{name: "the default, over", cacheKey: "Image", after: 11 * time.Minute, image: "a.cloud.example/app", again: true},
		{name: "its own", cacheKey: "Image", duration: `,"cacheDuration":"1h0m0s"`, after: 59 * time.Minute, image: "a.cloud.example/app"},
		{name: "nothing is kept", cacheKey: "Image", duration: `,"cacheDuration":"0s"`, image: "a.cloud.example/app", again: true},
		{name: "another image", cacheKey: "Image", image: "a.cloud.example/app2", again: true},
		{name: "the same registry", cacheKey: "Registry", image: "a.cloud.example/app2"},
		{name: "another registry", cacheKey: "Registry", image: "b.cloud.example/app", again: true},
		{name: "all", cacheKey: "Global", image: "b.cloud.example/app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, dir, err := loadPlugins(t, twoProviders, map[string]string{
				"cloud": strings.Replace(strings.Replace(counting, `"Registry"`, `"`+tt.cacheKey+`"`, 1), `}}}'`, `}}`+tt.duration+`}'`,
					1), "other": "#!/bin/sh\n",
			})
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			p.providers[0].now = func() time.Time { return now }
			for _, image := range []string{"a.cloud.example/app", tt.image} {
				if err := p.Add(t.Context(), &Credentials{}, repository(t, image)); err != nil {
					t.Fatal(err)
				}
				now = now.Add(tt.after)
			}
			want := "a.cloud.example/app"
			if tt.again {
				want += " " + tt.image
			}
			if got := asked(t, filepath.Join(dir, "runs")); got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
		})
	}
}

func TestProvidersThatFail(t *testing.T) {
	answer := func(text string) string { return "#!/bin/sh\ncat >>\"$(dirname \"$0\")/runs\"\n" + text }
	for _, tt := range []struct{ name, plugin, want string }{
		{"exit code", answer("echo no identity >&2; exit 3"), `exit status 3: "no identity\n"`},
		{"no JSON", answer("echo hunter2"), "its answer is not JSON of a CredentialProviderResponse"},
		{"another kind", answer(`echo '{"kind":"Secret","apiVersion":"v1"}'`), `its answer is a "Secret" of "v1"`},
		{"no cache key", answer(`echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}'`),
			`the cacheKeyType ""`},
		{"endless", answer("yes"), "it answered more than 1048576 bytes"},
		{"wordy", answer("yes no | head -c 100000 >&2; exit 1"), "exit status 1"},
		{"not a program", "", "exec format error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, dir, err := loadPlugins(t, twoProviders, map[string]string{"cloud": tt.plugin, "other": answer("exit 1")})
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			p.providers[0].now = func() time.Time { return now }
			for range 2 { // the second time it is cached
				c := &Credentials{}
				err = p.Add(t.Context(), c, repository(t, "a.cloud.example/app"))
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "credential provider cloud") {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if err != nil && (strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 2000) {
					t.Errorf("it says too much: %v", err)
				}
				if len(c.entries) != 0 {
					t.Errorf("credentials %v", c.entries)
				}
			}
			before := asked(t, filepath.Join(dir, "runs"))
			now = now.Add(providerFailureTTL)
			_ = p.Add(t.Context(), &Credentials{}, repository(t, "a.cloud.example/app"))
			if after := asked(t, filepath.Join(dir, "runs")); tt.plugin != "" &&
				(strings.Count(before, "app") != 1 || strings.Count(after, "app") != 2) {
				t.Errorf("asked for %q, and later %q", before, after)
			}
		})
	}
}

func TestProvidersAreAskedOnceForAll(t *testing.T) {
	p, dir, err := loadPlugins(t, twoProviders, map[string]string{"cloud": strings.Replace(counting, "cat >>",
		`until [ -e "$(dirname "$0")/go" ]; do sleep 0.01; done; cat >>`, 1), "other": "#!/bin/sh\n"})
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := p.Add(gone, &Credentials{}, repository(t, "a.cloud.example/app")); !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
	})
	leave()
	waiting.Wait()
	for range 5 {
		waiting.Go(func() {
			c := &Credentials{}
			if err := p.Add(t.Context(), c, repository(t, "a.cloud.example/app")); err != nil || len(c.entries) != 1 {
				t.Errorf("%v %v", err, c.entries)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	if got := asked(t, filepath.Join(dir, "runs")); got != "a.cloud.example/app" {
		t.Errorf("asked for %q", got)
	}
}

func TestProvidersKeepABoundedNumberOfAnswers(t *testing.T) {
	p := &provider{now: time.Now, cached: newResponses()}
	for i := range 3 * maxCachedResponses {
		p.cache(fmt.Sprint(i), response{}, time.Hour)
	}
	if p.cached.Len() > maxCachedResponses {
		t.Errorf("%d responses", p.cached.Len())
	}
}

func TestLoadProviders(t *testing.T) {
	plugins := map[string]string{"cloud": counting, "other": counting}
	for _, tt := range []struct{ name, from, to, want string }{
		{"another kind", "kind: CredentialProviderConfig", "kind: Pod", `is a "Pod"`},
		{"another version", "kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1",
			"give a CredentialProviderConfig of kubelet.config.k8s.io/v1"},
		{"an unknown key", "  args: [get, it]", "  arguments: [get, it]", `unknown field "arguments"`},
		{"no YAML", "providers:", "providers: :", "is no CredentialProviderConfig"},
		{"no images", `matchImages: ["*.cloud.example", "docker.io/team"]`, "matchImages: []", "matchImages is empty"},
		{"a broken image", "docker.io/team", "https://docker.io/team", `matchImages has "https://docker.io/team"`},
		{"no duration", "defaultCacheDuration: 10m", "", "defaultCacheDuration is missing"},
		{"an old request", "apiVersion: credentialprovider.kubelet.k8s.io/v1", "apiVersion: credentialprovider.kubelet.k8s.io/v1alpha1",
			"give credentialprovider.kubelet.k8s.io/v1"},
		{"a path", "name: cloud", "name: ../cloud", "without slashes"},
		{"no program", "name: cloud", "name: missing", "no such file"},
		{"twice", "name: other", "name: cloud", "taken by one before it"},
		{"tokens", "  args: [get, it]", "  tokenAttributes: {serviceAccountTokenAudience: a, cacheType: Token, requireServiceAccount: true}",
			"tokenAttributes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := strings.Replace(twoProviders, tt.from, tt.to, 1)
			if config == twoProviders {
				t.Fatal("nothing was changed")
			}
			if _, _, err := loadPlugins(t, config, plugins); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := LoadProviders(filepath.Join(t.TempDir(), "none"), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	var none *Providers
	if err := none.Add(t.Context(), nil, repository(t, "a/b")); err != nil {
		t.Errorf("no providers: %v", err)
	}
}
