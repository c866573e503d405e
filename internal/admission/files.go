package admission

import (
	"context"
	"slices"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
)

// FileSource reads configuration files that Pods mount.
type FileSource interface {
	// Settings returns what the file says that a ConfigMap has under a key; false
	// where it cannot be told. It answers soon after ctx ends.
	Settings(ctx context.Context, namespace, configMap, key string) (report.Settings, bool)
}

// maxFiles is how many files are read for one request.
const maxFiles = 16

// readFiles reads the configuration files in volumes that decide when calls run,
// for those images that some policy asks it of.
func (h *Handler) readFiles(ctx context.Context, namespace string, s *subject.Subject, policies []policy.Policy, images []policy.Image) {
	if h.Files == nil {
		return
	}
	type place struct{ configMap, key string }
	type answer struct {
		settings report.Settings
		known    bool
	}
	read := map[place]answer{}
	now := h.Now()
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
			found, known := read[at]
			if !known {
				if len(read) >= maxFiles || ctx.Err() != nil {
					return
				}
				found.settings, found.known = h.Files.Settings(ctx, namespace, at.configMap, at.key)
				read[at] = found
			}
			if found.known {
				found.settings.Path = file
				image.Run.Mounted = append(slices.Clip(image.Run.Mounted), found.settings)
			}
		}
	}
}
