package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// settings returns what the configuration says that this container runs a
// HAProxy with: that of all its files together, where each of them was read: in
// the image, where no volume lies over it, or in the volume. The path is the
// first one's.
func (r Run) settings(b *report.Binary, image *report.Report) (report.Settings, bool) {
	if productOf(b) != "haproxy" || image == nil {
		return report.Settings{}, false
	}
	files, ok := r.files(image)
	if !ok {
		return report.Settings{}, false
	}
	var all report.Settings
	for _, file := range files {
		read, known := settingsOf(image.Settings, file)
		if r.covered(file) || known && r.covered(read.File) {
			read, known = settingsOf(r.Mounted, file)
		}
		if !known {
			return report.Settings{}, false
		}
		all.User = all.User || read.User
		all.SetCap = all.SetCap || read.SetCap
	}
	all.Path = files[0]
	return all, true
}

func settingsOf(all []report.Settings, file string) (report.Settings, bool) {
	if i := slices.IndexFunc(all, func(s report.Settings) bool { return s.Path == path.Clean(file) }); i >= 0 {
		return all[i], true
	}
	return report.Settings{}, false
}

// files returns the configuration files of HAProxy that the container's command
// line names.
func (r Run) files(image *report.Report) ([]string, bool) {
	words := r.Command
	if c := image.Configuration; words == nil && c != nil {
		words = slices.Concat(c.Entrypoint, c.Command)
		if len(r.Args) > 0 {
			words = slices.Concat(c.Entrypoint, r.Args)
		}
	}
	return configurationFiles(words)
}

// MountedFiles returns the configuration files, by their clean paths, that decide
// when a legacy call of the image runs and lie in a volume of its containers: to
// be read into Run.Mounted.
func (i Image) MountedFiles() []string {
	if i.Report == nil || !slices.ContainsFunc(i.Report.Binaries, func(b report.Binary) bool {
		return productOf(&b) == "haproxy" && b.Capset.ABI.Legacy()
	}) {
		return nil
	}
	files, _ := i.Run.files(i.Report)
	var mounted []string
	for _, file := range files {
		if i.Run.covered(file) {
			mounted = append(mounted, path.Clean(file))
		}
	}
	return mounted
}

// configurationFiles returns the files that a command line of HAProxy's names:
// behind -f, and behind -- (section "Starting HAProxy" of its management guide).
// It reports false where there is none, and where it cannot be told: a script's
// words may come to anything, and a relative path depends on more than that.
func configurationFiles(words []string) ([]string, bool) {
	var files []string
	for i, word := range words {
		switch {
		case strings.ContainsFunc(word, separates), word == "-C": // -C changes the directory
			return nil, false
		case word == "--":
			files = append(files, words[i+1:]...)
			return files, len(files) > 0 && !slices.ContainsFunc(files, func(f string) bool { return !path.IsAbs(f) })
		case word == "-f" && i+1 < len(words) && path.IsAbs(words[i+1]):
			files = append(files, words[i+1])
		case word == "-f":
			return nil, false
		}
	}
	return files, len(files) > 0
}

// covered reports whether a volume lies over a file, or over a directory that it
// is in.
func (r Run) covered(file string) bool {
	return file != "" && slices.ContainsFunc(r.Mounts, func(mount string) bool {
		mount = path.Clean("/" + mount)
		return mount == "/" || path.Clean(file) == mount || strings.HasPrefix(path.Clean(file), mount+"/")
	})
}
