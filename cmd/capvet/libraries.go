package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// findLibraries looks for libraries in the folders, in their order, as a loader
// does with its search path.
func findLibraries(folders []string) func(name string) (report.Binary, bool) {
	return func(name string) (report.Binary, bool) {
		if strings.ContainsRune(name, '/') {
			return report.Binary{}, false // a path is no name to search for
		}
		for _, folder := range folders {
			path := filepath.Join(folder, name)
			b, _, err := openAndInspect(path, false)
			switch {
			case err == nil:
				return b, true
			case !errors.Is(err, fs.ErrNotExist):
				return report.Binary{Path: path, Capset: report.Capset{ABI: report.ABIUnknown, Reason: err.Error()}}, true
			}
		}
		return report.Binary{}, false
	}
}
