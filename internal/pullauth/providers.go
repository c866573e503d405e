package pullauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"
)

const (
	// maxCachedResponses bounds the cached responses of one plugin.
	maxCachedResponses = 1024
	// providerFailureTTL is how long a plugin's failure for a repository is cached.
	providerFailureTTL = 10 * time.Second
)

// Providers are a kubelet's credential provider plugins: programs that exchange
// the identity that they run under for credentials of a cloud's registry
// (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/).
// A nil pointer has no plugins.
type Providers struct {
	providers []*provider
	running   chan struct{} // a semaphore of maxPlugins
}

// provider is one plugin with its cached responses.
type provider struct {
	name   string
	images []entry // matchImages; without credentials
	run    func(ctx context.Context, image string) (*credentialproviderv1.CredentialProviderResponse, error)
	// defaultTTL applies to a response without cacheDuration.
	defaultTTL time.Duration
	now        func() time.Time
	calls      singleflight.Group
	cached     *lru.Cache[string, response] // by image, registry or "", as cacheKeyType selects
}

// response is a cached response or failure.
type response struct {
	entries []entry
	err     error
	until   time.Time
}

func newResponses() *lru.Cache[string, response] {
	cache, _ := lru.New[string, response](maxCachedResponses) // fails only for a size that is not positive
	return cache
}

// LoadProviders reads a kubelet's CredentialProviderConfig (kubelet.config.k8s.io/v1)
// and finds its plugins in a folder. It refuses plugins that need a
// ServiceAccount's token (tokenAttributes), which capvet may not create.
func LoadProviders(configFile, folder string) (*Providers, error) {
	raw, err := os.ReadFile(configFile)
	if err != nil {
		return nil, fmt.Errorf("reading the credential providers' configuration: %w", err)
	}
	var config kubeletconfigv1.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(raw, &config); err != nil {
		return nil, fmt.Errorf("%s is no CredentialProviderConfig: %w", configFile, err)
	}
	if want := kubeletconfigv1.SchemeGroupVersion.String(); config.APIVersion != want || config.Kind != "CredentialProviderConfig" {
		return nil, fmt.Errorf("%s is a %q of %q: give a CredentialProviderConfig of %s", configFile, config.Kind, config.APIVersion, want)
	}
	if len(config.Providers) == 0 {
		return nil, fmt.Errorf("%s names no providers", configFile)
	}
	p := &Providers{running: make(chan struct{}, maxPlugins)}
	for i, c := range config.Providers {
		read, err := newProvider(c, folder)
		if err == nil && slices.ContainsFunc(p.providers, func(before *provider) bool { return before.name == c.Name }) {
			err = errors.New("its name is taken by one before it")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: provider %d, %q: %w", configFile, i+1, c.Name, err)
		}
		p.providers = append(p.providers, read)
	}
	return p, nil
}

func newProvider(c kubeletconfigv1.CredentialProvider, folder string) (*provider, error) {
	switch {
	case c.Name == "" || c.Name == "." || c.Name == ".." || strings.ContainsAny(c.Name, "/ "):
		return nil, errors.New("a name is that of a program in the plugins' folder, without slashes and spaces")
	case c.APIVersion != credentialproviderv1.SchemeGroupVersion.String():
		return nil, fmt.Errorf("apiVersion is %q: give %s", c.APIVersion, credentialproviderv1.SchemeGroupVersion)
	case len(c.MatchImages) == 0:
		return nil, errors.New("matchImages is empty: say which images it has credentials for")
	case c.DefaultCacheDuration == nil || c.DefaultCacheDuration.Duration < 0:
		return nil, errors.New("defaultCacheDuration is missing or negative: give one, such as 10m; 0s keeps nothing")
	case c.TokenAttributes != nil:
		return nil, errors.New("tokenAttributes asks for tokens of Pods' ServiceAccounts, which capvet may not make: " +
			"leave it out to use capvet's own identity")
	}
	p := &provider{name: c.Name, defaultTTL: c.DefaultCacheDuration.Duration, now: time.Now, cached: newResponses()}
	for _, pattern := range c.MatchImages {
		key, ok := parseKey(pattern)
		if !ok || strings.Contains(pattern, "://") {
			return nil, fmt.Errorf("matchImages has %q: give a host, such as *.example.com, with or without a port and a path", pattern)
		}
		p.images = append(p.images, key)
	}
	program := filepath.Join(folder, c.Name)
	if info, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("its program: %w", err)
	} else if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("%s is not an executable file", program)
	}
	p.run = plugin{program: program, args: c.Args, environment: c.Env}.run
	return p, nil
}

// Add appends the plugins' credentials for a repository to c. The error names the
// failed plugins; the credentials of the others are added nevertheless.
func (p *Providers) Add(ctx context.Context, c *Credentials, repository name.Repository) error {
	if p == nil {
		return nil
	}
	var failed error
	for _, provider := range p.providers {
		if !slices.ContainsFunc(provider.images, func(e entry) bool { return e.matches(repository) }) {
			continue
		}
		entries, err := provider.get(ctx, p.running, kubeletName(repository))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("credential provider %s: %w", provider.name, err))
		}
		c.entries = append(c.entries, entries...)
	}
	return failed
}

// kubeletName returns the name under which a kubelet requests credentials for a
// repository: without a tag, and with docker.io for Docker Hub.
func kubeletName(repository name.Repository) string {
	if path, ok := strings.CutPrefix(repository.Name(), name.DefaultRegistry+"/"); ok {
		return "docker.io/" + path
	}
	return repository.Name()
}

// get returns the plugin's credentials for an image: cached, or of one run for
// all concurrent callers.
func (p *provider) get(ctx context.Context, running chan struct{}, image string) ([]entry, error) {
	if r, ok := p.lookUp(image); ok {
		return r.entries, r.err
	}
	done := p.calls.DoChan(image, func() (any, error) {
		running <- struct{}{}
		defer func() { <-running }()
		// The run serves all callers, and outlives the first one's context.
		return p.refresh(context.WithoutCancel(ctx), image), nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer in time: %w", ctx.Err())
	case result := <-done:
		r := result.Val.(response)
		return r.entries, r.err
	}
}

// refresh runs the plugin and caches its response.
func (p *provider) refresh(ctx context.Context, image string) response {
	answer, err := p.run(ctx, image)
	if err != nil {
		return p.cache(image, response{err: err}, providerFailureTTL)
	}
	ttl := p.defaultTTL
	if answer.CacheDuration != nil {
		ttl = answer.CacheDuration.Duration
	}
	registry, _, _ := strings.Cut(image, "/")
	key, known := map[credentialproviderv1.PluginCacheKeyType]string{
		credentialproviderv1.ImagePluginCacheKeyType:    image,
		credentialproviderv1.RegistryPluginCacheKeyType: registry,
		credentialproviderv1.GlobalPluginCacheKeyType:   "",
	}[answer.CacheKeyType]
	if !known {
		err := fmt.Errorf("its answer has the cacheKeyType %q, which is none of Image, Registry and Global", answer.CacheKeyType)
		return p.cache(image, response{err: err}, providerFailureTTL)
	}
	return p.cache(key, response{entries: entriesOf(answer)}, ttl)
}

// lookUp returns the cached response for the image, its registry, or all images.
func (p *provider) lookUp(image string) (response, bool) {
	registry, _, _ := strings.Cut(image, "/")
	for _, key := range []string{image, registry, ""} {
		if r, ok := p.cached.Get(key); ok && p.now().Before(r.until) {
			return r, true
		}
	}
	return response{}, false
}

// cache caches a response and returns it.
func (p *provider) cache(key string, r response, ttl time.Duration) response {
	if ttl > 0 {
		r.until = p.now().Add(ttl)
		p.cached.Add(key, r)
	}
	return r
}
