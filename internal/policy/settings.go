package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// settings returns what the configuration says that this container runs a
// HAProxy with: that of all its files together, where each of them is in the
// image as it was read, and no volume lies over it. The path is the first one's.
func (r Run) settings(b *report.Binary, image *report.Report) (report.Settings, bool) {
	if productOf(b) != "haproxy" || image == nil || len(image.Settings) == 0 {
		return report.Settings{}, false
	}
	words := r.Command
	if c := image.Configuration; words == nil && c != nil {
		words = slices.Concat(c.Entrypoint, c.Command)
		if len(r.Args) > 0 {
			words = slices.Concat(c.Entrypoint, r.Args)
		}
	}
	files, ok := configurationFiles(words)
	if !ok {
		return report.Settings{}, false
	}
	var all report.Settings
	for _, file := range files {
		i := slices.IndexFunc(image.Settings, func(s report.Settings) bool { return s.Path == path.Clean(file) })
		if i < 0 || r.covered(file) || r.covered(image.Settings[i].File) {
			return report.Settings{}, false
		}
		all.User = all.User || image.Settings[i].User
		all.SetCap = all.SetCap || image.Settings[i].SetCap
	}
	all.Path = files[0]
	return all, true
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
