package layers

import (
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// maxStarted bounds the words of an image's command line that are followed.
	maxStarted = 8
	// maxSearched bounds the directories of its PATH.
	maxSearched = 16
	// defaultPath is a runtime's search path for an image without PATH.
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// maxUserBytes and maxCommandBytes, the latter each for ENTRYPOINT and CMD,
	// bound a report's copy of the image's configuration.
	maxUserBytes    = 256
	maxCommandBytes = 4 << 10
)

// configurationOf returns the user, entry point and command of an image.
func configurationOf(config *v1.ConfigFile) *report.Configuration {
	if config == nil {
		return nil
	}
	user := config.Config.User
	return &report.Configuration{
		User: user[:min(len(user), maxUserBytes)], Entrypoint: truncate(config.Config.Entrypoint), Command: truncate(config.Config.Cmd),
	}
}

// truncate returns as many words as fit into maxCommandBytes.
func truncate(words []string) []string {
	room := maxCommandBytes
	for i, word := range words {
		if room -= len(word) + 1; room < 0 {
			return slices.Clone(words[:i])
		}
	}
	return slices.Clone(words)
}

// startedPaths returns the paths that an image may run: the words of its
// ENTRYPOINT and CMD that can name an executable. The words after a wrapper such
// as tini or a script count, too.
func startedPaths(config *v1.ConfigFile) []string {
	if config == nil {
		return nil
	}
	search := defaultPath
	for _, variable := range config.Config.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			search = value
		}
	}
	directories := strings.SplitN(search, ":", maxSearched+1)
	directories = directories[:min(len(directories), maxSearched)]
	var paths []string
	followed := 0
	for _, word := range slices.Concat(config.Config.Entrypoint, config.Config.Cmd) {
		if word == "" || word[0] == '-' || strings.ContainsAny(word, " \t\n=") || len(word) > imagefs.DefaultNameBytes {
			continue
		}
		if followed++; followed > maxStarted {
			break
		}
		switch {
		case path.IsAbs(word):
			paths = append(paths, imagefs.Clean(word))
		case strings.Contains(word, "/"):
			if d := config.Config.WorkingDir; fits(d, word) {
				paths = append(paths, imagefs.Clean(path.Join(d, word)))
			}
		default:
			for _, directory := range directories {
				if path.IsAbs(directory) && fits(directory, word) {
					paths = append(paths, path.Join(directory, word))
				}
			}
		}
	}
	return paths
}

// fits reports whether the kernel accepts a path: it refuses longer ones.
func fits(directory, word string) bool { return len(directory)+len(word) < imagefs.DefaultNameBytes-1 }
