package imagescan

import (
	"errors"
	"fmt"
	"io/fs"
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

// Hosts are where registries' images are had from, where that is not the
// registry itself: mirrors, and what TLS takes to speak to them. They are
// configured as for containerd, in a folder with a hosts.toml for each registry
// (https://github.com/containerd/containerd/blob/main/docs/hosts.md). Of its
// keys server, host, capabilities, ca, client, skip_verify, header and
// override_path are heeded.
//
// Give it what the nodes have: a mirror that serves an image without credentials
// does so for every Pod, here as there.
//
// Files that change are read again, as nodes do.
type Hosts struct {
	// Failed is told why files that changed could not be read: what was read last
	// holds then. Nil: nobody is.
	Failed func(error)

	dir     string
	options TransportOptions
	now     func() time.Time

	mu         sync.Mutex
	byRegistry map[string][]endpoint
	files      map[string]stamp // that it was read from
	tried      map[string]stamp // what they were when that failed
	looked     time.Time
}

// endpoint is one place to ask, in the order of the file.
type endpoint struct {
	base      url.URL // up to and with /v2
	registry  name.Registry
	transport http.RoundTripper
	header    http.Header
	// pull and resolve are what it may be asked: by digest, and by tag.
	pull, resolve bool
	// mirror says that it is not the registry: it gets no credentials.
	mirror bool
	// plain says that it is spoken to without TLS, whatever it may offer.
	plain bool
	// bare says that it is not asked how it wants to be spoken to.
	bare bool
	// files are those that its certificates were read from.
	files []string
}

// anyRegistry is the folder for registries without one of their own.
const anyRegistry = "_default"

// maxHostsFile is the largest hosts.toml, in bytes.
const maxHostsFile = 1 << 20

// hostFields are what hosts.toml says of the registry, or of one mirror.
type hostFields struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
}

// LoadHosts reads the configuration of all registries in a folder. Connections
// are made under the given options, but for TLS as each file says.
func LoadHosts(dir string, options TransportOptions) (*Hosts, error) {
	h := &Hosts{dir: dir, options: options, now: time.Now}
	var err error
	if h.byRegistry, h.files, err = readHosts(dir, options); err != nil {
		return nil, err
	}
	h.looked = h.now()
	return h, nil
}

// readHosts reads the configuration, and returns what the files were that it read
// before it read them.
func readHosts(dir string, options TransportOptions) (map[string][]endpoint, map[string]stamp, error) {
	files := map[string]stamp{dir: stampOf(dir)}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, files, fmt.Errorf("configuration of registries: %w", err)
	}
	byRegistry := map[string][]endpoint{}
	for _, folder := range folders {
		file := filepath.Join(dir, folder.Name(), "hosts.toml")
		files[file] = stampOf(file)
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
				files[name] = stampOf(name)
			}
		}
		byRegistry[registry] = endpoints
	}
	return byRegistry, files, nil
}

// registryOf undoes the spelling that file systems without colons need:
// host_port_ for host:port.
func registryOf(folder string) string {
	if bare, ok := strings.CutSuffix(folder, "_"); ok && folder != anyRegistry {
		if i := strings.LastIndexByte(bare, '_'); i > 0 {
			return bare[:i] + ":" + bare[i+1:]
		}
	}
	return folder
}

// parseHosts reads one hosts.toml: its mirrors in their order, then the registry
// itself.
func parseHosts(content []byte, registry, dir string, options TransportOptions) ([]endpoint, error) {
	var file struct {
		Server string                `toml:"server"`
		Hosts  map[string]hostFields `toml:"host"`
	}
	var own hostFields
	if err := errors.Join(toml.Unmarshal(content, &file), toml.Unmarshal(content, &own)); err != nil {
		return nil, err
	}
	// Their order counts, which a map does not keep.
	place := func(host string) int { return strings.Index(string(content), `"`+host+`"`) }
	var names []string
	for host := range file.Hosts {
		names = append(names, host)
	}
	slices.SortFunc(names, func(a, b string) int { return place(a) - place(b) })
	var endpoints []endpoint
	for _, host := range names {
		e, err := newEndpoint(host, file.Hosts[host], dir, options)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", host, err)
		}
		e.mirror = true
		endpoints = append(endpoints, e)
	}
	if file.Server == "" && registry == anyRegistry {
		return endpoints, nil // and then the registry as if there were no file
	}
	if file.Server == "" {
		file.Server = "https://" + registry
		if allowsPlain(options.PlainHTTP, registry) {
			file.Server = "http://" + registry
		}
	}
	if registry == "docker.io" && (file.Server == "https://docker.io" || file.Server == "https://registry-1.docker.io") {
		file.Server = "https://" + name.DefaultRegistry
	}
	e, err := newEndpoint(file.Server, own, dir, options)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", file.Server, err)
	}
	// Credentials are the registry's: another server is a mirror.
	itself := e.base.Host == registry || registry == "docker.io" && e.base.Host == name.DefaultRegistry
	e.mirror = !itself
	return append(endpoints, e), nil
}

func newEndpoint(address string, of hostFields, dir string, options TransportOptions) (endpoint, error) {
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
	if !of.OverridePath && !strings.HasSuffix(e.base.Path, "/v2") {
		e.base.Path += "/v2"
	}
	e.bare = e.base.Path != "/v2"
	for key, value := range of.Header {
		values, err := stringsOf(value)
		if err != nil {
			return endpoint{}, fmt.Errorf("header %s: %w", key, err)
		}
		e.header[http.CanonicalHeaderKey(key)] = values
		e.bare = e.bare || strings.EqualFold(key, "Authorization")
	}
	e.pull, e.resolve = len(of.Capabilities) == 0, len(of.Capabilities) == 0
	for _, capability := range of.Capabilities {
		e.pull = e.pull || capability == "pull"
		e.resolve = e.resolve || capability == "resolve"
	}
	if options.TLS, e.files, err = of.tls(options.TLS, dir); err != nil {
		return endpoint{}, err
	}
	e.transport = requestRules(NewTransport(options))
	return e, nil
}

// of returns where to ask for a registry's images, in order: the registry itself
// last, if the configuration does not name it.
func (h *Hosts) of(registry name.Registry, transport http.RoundTripper, plain bool) []endpoint {
	host := registry.RegistryStr()
	own := endpoint{
		base:     url.URL{Scheme: registry.Scheme(), Host: host, Path: "/v2"},
		registry: registry, transport: transport, pull: true, resolve: true, plain: plain,
	}
	if h == nil {
		return []endpoint{own}
	}
	folder := host
	if folder == name.DefaultRegistry {
		folder = "docker.io"
	}
	byRegistry := h.current()
	endpoints, ok := byRegistry[folder]
	// What is configured for this registry ends with its server. What is for any
	// is only asked before it.
	if !ok {
		return append(slices.Clone(byRegistry[anyRegistry]), own)
	}
	return endpoints
}
