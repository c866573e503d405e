package layers

import (
	"cmp"
	"path"
	"slices"
	"strings"

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

// Config is the part of an image's configuration that decides which programs the
// image runs, and how.
type Config struct {
	// User is USER, WorkingDir is WORKDIR, and Path the variable PATH of ENV; empty
	// if unset.
	User, WorkingDir, Path string
	// Entrypoint and Command are ENTRYPOINT and CMD.
	Entrypoint, Command []string
}

// configurationOf returns the user, entry point and command of an image.
func configurationOf(config *Config) *report.Configuration {
	if config == nil {
		return nil
	}
	user := config.User
	return &report.Configuration{
		User: user[:min(len(user), maxUserBytes)], Entrypoint: truncate(config.Entrypoint), Command: truncate(config.Command),
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
func startedPaths(config *Config) []string {
	if config == nil {
		return nil
	}
	search := cmp.Or(config.Path, defaultPath)
	directories := strings.SplitN(search, ":", maxSearched+1)
	directories = directories[:min(len(directories), maxSearched)]
	var paths []string
	followed := 0
	for _, word := range slices.Concat(config.Entrypoint, config.Command) {
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
			if d := config.WorkingDir; fits(d, word) {
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
