package policy

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// Run describes how a container runs an image, as far as the Pod determines it.
type Run struct {
	User User
	// Command holds the container's command and arguments; nil if the image's entry point
	// runs.
	Command []string
	// Args are the container's arguments to the image's entry point.
	Args []string
	// Mounts are the paths of the container's volumes, sorted. They hide the image's files.
	Mounts []string
	// Mounted are the settings of configuration files in those volumes, by Path, as far as
	// they were read.
	Mounted []report.Settings
}

// User is the user that a container starts as.
type User string

// Users.
const (
	UserOfImage User = "" // from the image, or unknown
	UserRoot    User = "root"
	UserNonRoot User = "non-root"
)

// userOf returns the image's own user. None, and the number 0, are root (OCI image
// specification, "config"). Other names stand for their number in the image's /etc/passwd,
// and are unknown without one there.
func userOf(c *report.Configuration) User {
	name, _, _ := strings.Cut(c.User, ":")
	id, err := strconv.ParseInt(name, 10, 64)
	switch known := c.UID != nil; {
	case known && *c.UID == 0, !known && (name == "" || name == "root"), !known && err == nil && id == 0:
		return UserRoot
	case known, err == nil:
		return UserNonRoot
	}
	return UserOfImage
}

// settings returns the union of the settings of all configuration files of a process, from
// the image or from the volume that hides it; false unless all are known. Path is that of
// the first file.
func (r Run) settings(c *product.Configuration, image *report.Report) (*report.Settings, bool) {
	if c == nil || image == nil {
		return nil, false
	}
	files, ok := c.Files(r.words(image))
	if !ok {
		return nil, false
	}
	all := report.Settings{Path: files[0]}
	for _, file := range files {
		read, known := settingsOf(image.Settings, file)
		if r.hides(file) || known && r.hides(read.File) {
			read, known = settingsOf(r.Mounted, file)
		}
		if !known {
			return nil, false
		}
		all.User = all.User || read.User
		all.SetCap = all.SetCap || read.SetCap
	}
	return &all, true
}

func settingsOf(all []report.Settings, file string) (report.Settings, bool) {
	if i := slices.IndexFunc(all, func(s report.Settings) bool { return s.Path == path.Clean(file) }); i >= 0 {
		return all[i], true
	}
	return report.Settings{}, false
}

// words returns the command line of the container.
func (r Run) words(image *report.Report) []string {
	c := image.Configuration
	switch {
	case r.Command != nil || c == nil:
		return r.Command
	case len(r.Args) > 0:
		return slices.Concat(c.Entrypoint, r.Args)
	}
	return slices.Concat(c.Entrypoint, c.Command)
}

// MountedFiles returns the clean paths of the configuration files that decide when legacy
// calls of the image run and that lie in a volume: their settings belong in Run.Mounted.
func (i Image) MountedFiles() []string {
	if i.Report == nil {
		return nil
	}
	var mounted []string
	seen := map[string]bool{} // products
	for j := range i.Report.Binaries {
		b := &i.Report.Binaries[j]
		known, ok := product.Lookup(productOf(b))
		if !ok || known.Configuration == nil || !b.Capset.ABI.Legacy() || seen[known.Name] {
			continue
		}
		seen[known.Name] = true
		files, _ := known.Configuration.Files(i.Run.words(i.Report))
		for _, file := range files {
			if clean := path.Clean(file); i.Run.hides(file) && !slices.Contains(mounted, clean) {
				mounted = append(mounted, clean)
			}
		}
	}
	return mounted
}

// hides reports whether a volume hides the image's file, or a directory above it.
func (r Run) hides(file string) bool {
	return file != "" && slices.ContainsFunc(r.Mounts, func(mount string) bool {
		mount = path.Clean("/" + mount)
		return mount == "/" || path.Clean(file) == mount || strings.HasPrefix(path.Clean(file), mount+"/")
	})
}
