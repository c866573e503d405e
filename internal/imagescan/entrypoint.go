package imagescan

import (
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// maxStarted is how many words of an image's command line are followed.
	maxStarted = 8
	// maxSearched is how many directories of its PATH are.
	maxSearched = 16
	// defaultPath is what a runtime searches when an image sets no PATH.
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Bounds of what a report has of an image's configuration.
const (
	maxUser         = 256     // bytes
	maxCommandBytes = 4 << 10 // of ENTRYPOINT or CMD
)

// configuration returns what an image says of how it is run.
func configuration(config *v1.ConfigFile) *report.Configuration {
	if config == nil {
		return nil
	}
	user := config.Config.User
	return &report.Configuration{
		User: user[:min(len(user), maxUser)], Entrypoint: fitting(config.Config.Entrypoint), Command: fitting(config.Config.Cmd),
	}
}

// fitting returns as many words as have room.
func fitting(words []string) []string {
	room := maxCommandBytes
	for i, word := range words {
		if room -= len(word) + 1; room < 0 {
			return slices.Clone(words[:i])
		}
	}
	return slices.Clone(words)
}

// started returns the paths of what an image runs, as far as its configuration
// says: the words of its ENTRYPOINT and CMD that can name an executable. A
// wrapper such as tini or a script is followed by what it starts.
func started(config *v1.ConfigFile) []string {
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
	words := append(append([]string{}, config.Config.Entrypoint...), config.Config.Cmd...)
	followed := 0
	for _, word := range words {
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
			paths = append(paths, imagefs.Clean(path.Join(config.Config.WorkingDir, word)))
		default:
			for _, directory := range directories {
				if path.IsAbs(directory) {
					paths = append(paths, path.Join(directory, word))
				}
			}
		}
	}
	return paths
}
