package subject

import (
	"slices"
	"time"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// maxFiles is how many files are read for one subject.
const maxFiles = 16

// ReadFiles adds to images what the configuration files in volumes of ConfigMaps
// say that decide when calls run, for those images that some policy asks it of.
// read returns what the file says that a ConfigMap of the namespace has under a
// key; false where it cannot be told.
func (s *Subject) ReadFiles(now time.Time, policies []policy.Policy, images []policy.Image, read func(configMap, key string) (report.Settings, bool)) {
	type place struct{ configMap, key string }
	type answer struct {
		settings report.Settings
		known    bool
	}
	answers := map[place]answer{}
	for i := range images {
		image := &images[i]
		if scope, wanted := policy.Wanted(now, policies, *image); !wanted || !scope.Trigger {
			continue
		}
		for _, file := range image.MountedFiles() {
			var at place
			same := true // containers may have different volumes at one path
			for j, container := range image.Containers {
				configMap, key, ok := s.ConfigMapFile(container, file)
				this := place{configMap, key}
				same = same && ok && (j == 0 || this == at)
				at = this
			}
			if !same {
				continue
			}
			found, known := answers[at]
			if !known {
				if len(answers) >= maxFiles {
					return
				}
				found.settings, found.known = read(at.configMap, at.key)
				answers[at] = found
			}
			if found.known {
				found.settings.Path = file
				image.Run.Mounted = append(slices.Clip(image.Run.Mounted), found.settings)
			}
		}
	}
}
