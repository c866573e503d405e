package pullauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/singleflight"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"
)

const (
	// maxProviderConfigBytes is how large a configuration may be.
	maxProviderConfigBytes = 1 << 20
	// maxProvided is how many answers of one plugin are kept.
	maxProvided = 1024
	// providerFailureTime is for how long a plugin that failed is not run again
	// for the same repository.
	providerFailureTime = 10 * time.Second
)

// Providers are a kubelet's credential provider plugins: programs that give
// credentials of a cloud's registry for the identity that they run under
// (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/).
// The nil pointer has none.
type Providers struct {
	providers []*provider
	running   chan struct{} // one for each plugin that runs
}

// provider is one plugin, with what it said.
type provider struct {
	name   string
	images []entry // what it is asked for; without credentials
	run    func(ctx context.Context, image string) (*credentialproviderv1.CredentialProviderResponse, error)
	// defaultTime is how long an answer is kept that does not say it itself.
	defaultTime time.Duration
	now         func() time.Time
	asking      singleflight.Group

	mu   sync.Mutex
	said map[string]answer // by what the plugin's cacheKeyType names
}

// answer is what a plugin said.
type answer struct {
	entries []entry
	err     error
	until   time.Time
}

// LoadProviders reads a kubelet's CredentialProviderConfig (kubelet.config.k8s.io/v1)
// and looks for its plugins in a folder. Plugins that want a ServiceAccount's
// token (tokenAttributes) are refused: capvet may not make tokens.
func LoadProviders(configFile, folder string) (*Providers, error) {
	raw, err := readBounded(configFile)
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
	names := map[string]bool{}
	for i, c := range config.Providers {
		read, err := newProvider(c, folder)
		if err == nil && names[c.Name] {
			err = errors.New("its name is taken by one before it")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: provider %d, %q: %w", configFile, i+1, c.Name, err)
		}
		names[c.Name] = true
		p.providers = append(p.providers, read)
	}
	return p, nil
}

func readBounded(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxProviderConfigBytes {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", file, info.Size(), maxProviderConfigBytes)
	}
	return os.ReadFile(file)
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
		return nil, errors.New("tokenAttributes asks for tokens of Pods' ServiceAccounts, which capvet may not make: leave it out to use capvet's own identity")
	}
	p := &provider{name: c.Name, defaultTime: c.DefaultCacheDuration.Duration, now: time.Now, said: map[string]answer{}}
	for _, pattern := range c.MatchImages {
		host, path, ok := splitKey(pattern)
		if !ok || strings.Contains(pattern, "://") {
			return nil, fmt.Errorf("matchImages has %q: give a host, such as *.example.com, with or without a port and a path", pattern)
		}
		p.images = append(p.images, entry{host: host, path: path})
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

// Add adds what the plugins say for a repository to what c holds: it is tried
// after that. The error names the plugins that failed; the others' answers are
// added all the same.
func (p *Providers) Add(ctx context.Context, c *Credentials, repository name.Repository) error {
	if p == nil {
		return nil
	}
	var failed error
	for _, provider := range p.providers {
		if !provider.isFor(repository) {
			continue
		}
		said, err := provider.ask(ctx, p.running, kubeletName(repository))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("credential provider %s: %w", provider.name, err))
		}
		c.addFallback(said)
	}
	return failed
}

func (p *provider) isFor(repository name.Repository) bool {
	for _, e := range p.images {
		if e.matches(repository.RegistryStr(), "/"+repository.RepositoryStr()) {
			return true
		}
	}
	return false
}

// kubeletName is a repository as a kubelet names it to a plugin: without a tag,
// and Docker Hub's by its usual name.
func kubeletName(repository name.Repository) string {
	host := repository.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	return host + "/" + repository.RepositoryStr()
}

// ask returns what the plugin says for an image: remembered, or asked for, once
// for all who want it.
func (p *provider) ask(ctx context.Context, running chan struct{}, image string) ([]entry, error) {
	if a, ok := p.remembered(image); ok {
		return a.entries, a.err
	}
	asked := p.asking.DoChan(image, func() (any, error) {
		running <- struct{}{}
		defer func() { <-running }()
		// For all who wait: that one of them leaves does not end it.
		return p.askNow(context.WithoutCancel(ctx), image), nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer in time: %w", ctx.Err())
	case result := <-asked:
		a := result.Val.(answer)
		return a.entries, a.err
	}
}

func (p *provider) askNow(ctx context.Context, image string) answer {
	response, err := p.run(ctx, image)
	if err != nil {
		a := answer{err: err, until: p.now().Add(providerFailureTime)}
		p.remember(image, a)
		return a
	}
	keep := p.defaultTime
	if response.CacheDuration != nil {
		keep = response.CacheDuration.Duration
	}
	a := answer{entries: entriesOf(response), until: p.now().Add(keep)}
	registry, _, _ := strings.Cut(image, "/")
	key, known := map[credentialproviderv1.PluginCacheKeyType]string{
		credentialproviderv1.ImagePluginCacheKeyType:    image,
		credentialproviderv1.RegistryPluginCacheKeyType: registry,
		credentialproviderv1.GlobalPluginCacheKeyType:   "",
	}[response.CacheKeyType]
	if !known {
		a = answer{err: fmt.Errorf("its answer has the cacheKeyType %q, which is none of Image, Registry and Global", response.CacheKeyType), until: p.now().Add(providerFailureTime)}
		key, keep = image, providerFailureTime
	}
	if keep > 0 {
		p.remember(key, a)
	}
	return a
}

// remembered returns what the plugin said of the image, of its registry, or of
// all.
func (p *provider) remembered(image string) (answer, bool) {
	registry, _, _ := strings.Cut(image, "/")
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []string{image, registry, ""} {
		if a, ok := p.said[key]; ok && now.Before(a.until) {
			return a, true
		}
	}
	return answer{}, false
}

func (p *provider) remember(key string, a answer) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) >= maxProvided {
		for k, old := range p.said {
			if !now.Before(old.until) {
				delete(p.said, k)
			}
		}
		if len(p.said) >= maxProvided {
			clear(p.said) // cheaper to ask again than to tell which is needed least
		}
	}
	p.said[key] = a
}
