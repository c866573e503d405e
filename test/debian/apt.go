package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// maxMirrors bounds how many of the machine's sources are tried.
	maxMirrors = 4
	// killGrace is how long apt's own children may keep its output open once it
	// was told to stop.
	killGrace = 5 * time.Second
	// maxComplaint bounds how much of apt's words an error repeats, in bytes.
	maxComplaint = 2000
)

// apt runs apt-get with a private state.
type apt struct {
	get string // the path of apt-get
	// sources is configuration in place of the machine's sources; empty but in
	// tests.
	sources string
}

func newApt() (*apt, error) {
	get, err := exec.LookPath("apt-get")
	if err != nil {
		return nil, ErrNoApt
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		return nil, ErrNoApt
	}
	return &apt{get: get}, nil
}

// configuration is read after the machine's own, whose proxies and mirror
// credentials stay in force. Its %[1]s is the private folder.
//
// The private sources name their keys (Signed-By), and signatures are required
// even where the machine's configuration waives them. The machine's update hooks
// are switched off. The sandbox user is root, since apt's own cannot write to the
// private folder.
const configuration = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::State "%[1]s/state";
Dir::State::lists "%[1]s/state/lists";
Dir::State::status "%[1]s/state/status";
Dir::Cache "%[1]s/cache";
Dir::Cache::archives "%[1]s/cache/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "%[1]s/log";
`

// privateSources replaces the machine's sources and pins.
const privateSources = `APT::Architecture "%[2]s";
APT::Architectures "%[2]s";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "%[1]s/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
`

// entry is a deb822 entry. The date until which a Release file is valid is not
// checked: it guards against withheld updates, and the packages are only read,
// so a mirror that stands still will do.
const entry = `Types: %s
URIs: %s
Suites: %s
Components: main
Targets: %s
Signed-By: %s
Check-Valid-Until: no
`

// index is the list of packages of an apt source.
type index struct{ types, targets string }

var (
	binaries = index{"deb", "Packages"}
	sources  = index{"deb-src", "Sources"}
)

// eachMirror calls fetch with a private folder under work and the URI of each of
// the machine's mirrors, until one serves.
func (a *apt) eachMirror(ctx context.Context, work string, fetch func(private, mirror string) error) error {
	if _, err := os.Stat(Keyring); err != nil {
		return fmt.Errorf("%w: there is no %s to check signatures with; install debian-archive-keyring", ErrUnavailable, Keyring)
	}
	mirrors, err := a.mirrors(ctx, filepath.Join(work, "mirrors"))
	if err != nil {
		return err
	}
	var failures []error
	for i, mirror := range mirrors {
		err := fetch(filepath.Join(work, fmt.Sprint(i)), mirror)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// update brings an index of the mirror into the private folder, and returns the
// configuration to fetch with and an empty folder to fetch into.
func (a *apt) update(ctx context.Context, private, mirror, suite, arch string, of index) (config, archives string, err error) {
	if config, err = a.prepare(private, fmt.Sprintf(privateSources, private, arch)); err != nil {
		return "", "", err
	}
	archives = filepath.Join(private, "archives")
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return "", "", err
	}
	content := fmt.Sprintf(entry, of.types, mirror, suite, of.targets, Keyring)
	if err := os.WriteFile(filepath.Join(private, "sources", "debian.sources"), []byte(content), 0o644); err != nil {
		return "", "", err
	}
	// Without the mode a failed fetch is a warning and no failure.
	_, err = a.run(ctx, private, "-c", config, "-o", "APT::Update::Error-Mode=any", "update")
	return config, archives, err
}

// download fetches packages into the folder work and returns their files by
// name.
func (a *apt) download(ctx context.Context, work, suite, arch string, names []string) (files map[string]string, err error) {
	err = a.eachMirror(ctx, work, func(private, mirror string) (err error) {
		files, err = a.downloadFrom(ctx, private, mirror, suite, arch, names)
		return err
	})
	return files, err
}

func (a *apt) downloadFrom(ctx context.Context, private, mirror, suite, arch string, names []string) (map[string]string, error) {
	config, archives, err := a.update(ctx, private, mirror, suite, arch, binaries)
	if err != nil {
		return nil, err
	}
	if _, err := a.run(ctx, archives, append([]string{"-c", config, "download"}, names...)...); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(names))
	for _, path := range found {
		name, _, _ := strings.Cut(filepath.Base(path), "_")
		files[name] = path
	}
	for _, name := range names {
		if files[name] == "" {
			return nil, fmt.Errorf("%w: apt-get fetched no %s", ErrUnavailable, name)
		}
	}
	return files, nil
}

// prepare makes the private folder and returns the path of its configuration.
func (a *apt) prepare(private, extra string) (string, error) {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "sources", "log"} {
		if err := os.MkdirAll(filepath.Join(private, dir), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(private, "state", "status"), nil, 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(private, "apt.conf")
	return path, os.WriteFile(path, []byte(fmt.Sprintf(configuration, private)+extra), 0o644)
}

// mirrors returns the URIs of the machine's sources that serve a Debian archive.
// apt itself reads its sources, so every format that it knows will do.
func (a *apt) mirrors(ctx context.Context, private string) ([]string, error) {
	config, err := a.prepare(private, a.sources)
	if err != nil {
		return nil, err
	}
	output, err := a.run(ctx, private, "-c", config, "--print-uris", "update")
	if err != nil {
		return nil, err
	}
	found := parseMirrors(output)
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no apt source of this machine has a Debian suite with the component main", ErrUnavailable)
	}
	return found[:min(len(found), maxMirrors)], nil
}

// printed is a line of apt-get --print-uris update that names an index of the
// component main: the URI before dists, and the suite.
var printed = regexp.MustCompile(`(?m)^'([^']+?)/+dists/([^/']+)/main/binary-[^/']+/Packages[^/']*'`)

// suites are those of Debian's own archive. Other archives use some of these
// names too; the signature tells them apart.
var suites = []string{
	"bullseye", "bookworm", "trixie", "forky", "sid",
	"oldoldstable", "oldstable", "stable", "testing", "unstable",
}

// parseMirrors returns the URIs that serve a suite of Debian's, once each, those
// whose path ends in /debian first: so the official mirrors do.
func parseMirrors(output string) []string {
	var likely, others []string
	for _, match := range printed.FindAllStringSubmatch(output, -1) {
		uri, suite := match[1], match[2]
		if !slices.Contains(suites, suite) || slices.Contains(likely, uri) || slices.Contains(others, uri) {
			continue
		}
		if strings.HasSuffix(uri, "/debian") {
			likely = append(likely, uri)
		} else {
			others = append(others, uri)
		}
	}
	return append(likely, others...)
}

// run runs apt-get in the folder dir. Its failures are ErrUnavailable, with its
// own words.
func (a *apt) run(ctx context.Context, dir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, a.get, append([]string{"-q"}, args...)...)
	command.Dir = dir
	command.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = killGrace
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w: apt-get %s: %w: %s", ErrUnavailable, strings.Join(args[2:], " "), err, complaint(stderr.String()))
	}
	return stdout.String(), nil
}

// userinfo is the part of a URI that may hold a password.
var userinfo = regexp.MustCompile(`://[^/@\s]*@`)

// complaint returns apt's error output as one line of bounded length.
func complaint(words string) string {
	words = strings.Join(strings.Fields(userinfo.ReplaceAllString(words, "://")), " ")
	if len(words) > maxComplaint {
		words = words[:maxComplaint] + " ..."
	}
	return words
}
