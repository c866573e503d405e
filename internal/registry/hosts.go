package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/pelletier/go-toml/v2"
)

// hosts holds per-registry mirrors and TLS settings, read from containerd's
// hosts.toml files, one folder per registry
// (https://github.com/containerd/containerd/blob/main/docs/hosts.md). The keys
// server, host, capabilities, ca, client, skip_verify, header and override_path
// take effect.
//
// They should be the nodes' own: a mirror that serves an image without credentials
// serves it to every Pod, on the nodes as well as here.
type hosts struct {
	dir           string
	options       endpointOptions
	onReloadError func(error)
	now           func() time.Time

	mu         sync.Mutex
	byRegistry map[string][]endpoint
	files      map[string]fileVersion // at the last reload, good or failed
	checked    time.Time
}

// endpoint is a registry or one of its mirrors.
type endpoint struct {
	base      url.URL // including /v2
	registry  name.Registry
	transport http.RoundTripper
	header    http.Header
	// pull and resolve are its capabilities: requests by digest, and by tag.
	pull, resolve bool
	// mirror means an endpoint other than the registry: it gets no credentials.
	mirror bool
	// plain means HTTP without TLS, even if the host also offers TLS.
	plain bool
	// skipPing means no GET /v2/ for the authentication scheme: requests carry
	// the configured header alone.
	skipPing bool
	// files are the certificate files in use.
	files []string
}

// endpointOptions configure the requests to endpoints.
type endpointOptions struct {
	TransportOptions
	rules requestRules
}

// anyRegistry is the folder for registries without their own.
const anyRegistry = "_default"

// maxHostsFile is the largest hosts.toml, in bytes.
const maxHostsFile = 1 << 20

// hostFields are the keys of hosts.toml for the registry or one mirror.
type hostFields struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
}

// loadHosts reads the configuration of every registry in a directory. Mirrors
// are reached with the given options, extended by the TLS settings of each file.
func loadHosts(dir string, options endpointOptions, onReloadError func(error)) (*hosts, error) {
	h := &hosts{dir: dir, options: options, onReloadError: onReloadError, now: time.Now, checked: time.Now()}
	return h, h.reload()
}

// readHosts reads the configuration, and returns the version of each file from
// before it was read.
func readHosts(dir string, options endpointOptions) (map[string][]endpoint, map[string]fileVersion, error) {
	files := map[string]fileVersion{dir: versionOf(dir)}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, files, fmt.Errorf("configuration of registries: %w", err)
	}
	byRegistry := map[string][]endpoint{}
	for _, folder := range folders {
		file := filepath.Join(dir, folder.Name(), "hosts.toml")
		files[file] = versionOf(file)
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err == nil && len(content) > maxHostsFile {
			err = fmt.Errorf("it has more than %d bytes", maxHostsFile)
		}
		var endpoints []endpoint
		registry := registryOf(folder.Name())
		if err == nil {
			endpoints, err = parseHosts(content, registry, filepath.Dir(file), options)
		}
		if err != nil {
			return nil, files, fmt.Errorf("%s: %w", file, err)
		}
		for _, e := range endpoints {
			for _, name := range e.files {
				files[name] = versionOf(name)
			}
		}
		byRegistry[registry] = endpoints
	}
	return byRegistry, files, nil
}

// registryOf returns the registry that a folder configures. host_port_ stands
// for host:port, for file systems without colons.
func registryOf(folder string) string {
	if bare, ok := strings.CutSuffix(folder, "_"); ok && folder != anyRegistry {
		if i := strings.LastIndexByte(bare, '_'); i > 0 {
			return bare[:i] + ":" + bare[i+1:]
		}
	}
	return folder
}

// parseHosts parses one hosts.toml: the mirrors in the order of the file, then
// the registry itself.
func parseHosts(content []byte, registry, dir string, options endpointOptions) ([]endpoint, error) {
	var file struct {
		hostFields
		Server string                `toml:"server"`
		Hosts  map[string]hostFields `toml:"host"`
	}
	if err := toml.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	// A map loses the order of the file, which counts.
	offset := func(host string) int { return strings.Index(string(content), `"`+host+`"`) }
	mirrors := slices.SortedFunc(maps.Keys(file.Hosts), func(a, b string) int { return offset(a) - offset(b) })
	var endpoints []endpoint
	for _, host := range mirrors {
		e, err := newEndpoint(host, file.Hosts[host], dir, options)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", host, err)
		}
		e.mirror = true
		endpoints = append(endpoints, e)
	}
	if file.Server == "" && registry == anyRegistry {
		return endpoints, nil // the registry follows, as without a file
	}
	if file.Server == "" {
		file.Server = "https://" + registry
		if allowsPlain(options.PlainHTTP, registry) {
			file.Server = "http://" + registry
		}
	}
	if registry == dockerHub && (file.Server == "https://docker.io" || file.Server == "https://registry-1.docker.io") {
		file.Server = "https://" + name.DefaultRegistry
	}
	e, err := newEndpoint(file.Server, file.hostFields, dir, options)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", file.Server, err)
	}
	// Credentials are for the registry's own host: any other server is a mirror.
	e.mirror = e.base.Host != registry && (registry != dockerHub || e.base.Host != name.DefaultRegistry)
	return append(endpoints, e), nil
}

func newEndpoint(address string, fields hostFields, dir string, options endpointOptions) (endpoint, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return endpoint{}, err
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil:
		return endpoint{}, errors.New("give https://HOST, or http://HOST")
	}
	e := endpoint{base: url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, header: http.Header{}}
	var insecure []name.Option
	if u.Scheme == "http" {
		e.plain = true
		insecure = append(insecure, name.Insecure)
		options.PlainHTTP = append(slices.Clone(options.PlainHTTP), u.Host)
	}
	if e.registry, err = name.NewRegistry(u.Host, insecure...); err != nil {
		return endpoint{}, err
	}
	if !fields.OverridePath && !strings.HasSuffix(e.base.Path, "/v2") {
		e.base.Path += "/v2"
	}
	e.skipPing = e.base.Path != "/v2"
	for key, value := range fields.Header {
		values, err := stringsOf(value)
		if err != nil {
			return endpoint{}, fmt.Errorf("header %s: %w", key, err)
		}
		e.header[http.CanonicalHeaderKey(key)] = values
		e.skipPing = e.skipPing || strings.EqualFold(key, "Authorization")
	}
	all := len(fields.Capabilities) == 0
	e.pull = all || slices.Contains(fields.Capabilities, "pull")
	e.resolve = all || slices.Contains(fields.Capabilities, "resolve")
	if options.TLS, e.files, err = fields.tls(options.TLS, dir); err != nil {
		return endpoint{}, err
	}
	e.transport = options.rules.on(NewTransport(options.TransportOptions))
	return e, nil
}

// endpoints returns the mirrors of a registry in order of preference, then the
// registry itself, reached by transport unless a file configures it.
func (h *hosts) endpoints(registry name.Registry, transport http.RoundTripper, plain bool) []endpoint {
	host := registry.RegistryStr()
	own := endpoint{
		base:     url.URL{Scheme: registry.Scheme(), Host: host, Path: "/v2"},
		registry: registry, transport: transport, pull: true, resolve: true, plain: plain,
	}
	if h == nil {
		return []endpoint{own}
	}
	byRegistry := h.current()
	// A registry's own file ends with its server, the default file does not.
	if endpoints, ok := byRegistry[configName(host)]; ok {
		return endpoints
	}
	return append(slices.Clone(byRegistry[anyRegistry]), own)
}

// dockerHub is Docker Hub's name in configuration; go-containerregistry calls it
// name.DefaultRegistry.
const dockerHub = "docker.io"

// configName returns a registry's name in configuration.
func configName(host string) string {
	if host == name.DefaultRegistry {
		return dockerHub
	}
	return host
}
