package judge

import (
	"slices"
	"time"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// maxFiles bounds the configuration files that are read for one subject.
const maxFiles = 16

// configMapKey is one file of a ConfigMap.
type configMapKey struct{ configMap, key string }

// readMounted adds to images the settings of configuration files in ConfigMap volumes
// that decide when calls run, for policies that ask for the trigger.
func readMounted(now time.Time, policies []policy.Policy, images []policy.Image,
	locate func(container, file string) (configMap, key string, ok bool), read func(configMap, key string) (report.Settings, bool)) {
	answers := map[configMapKey]*report.Settings{} // nil: unknown
	for i := range images {
		image := &images[i]
		if scope, wanted := policy.Wanted(now, policies, *image); !wanted || !scope.Trigger {
			continue
		}
		for _, file := range image.MountedFiles() {
			at, ok := sharedFile(image.Containers, file, locate)
			if !ok {
				continue
			}
			found, asked := answers[at]
			if !asked {
				if len(answers) >= maxFiles {
					return
				}
				if settings, known := read(at.configMap, at.key); known {
					found = &settings
				}
				answers[at] = found
			}
			if found != nil {
				settings := *found
				settings.Path = file
				image.Run.Mounted = append(slices.Clip(image.Run.Mounted), settings)
			}
		}
	}
}

// sharedFile locates a file that all containers see alike; false where they have
// different volumes at its path.
func sharedFile(containers []string, file string, locate func(container, file string) (configMap, key string,
	ok bool)) (configMapKey, bool) {
	var shared configMapKey
	for i, container := range containers {
		configMap, key, ok := locate(container, file)
		at := configMapKey{configMap, key}
		if !ok || i > 0 && at != shared {
			return configMapKey{}, false
		}
		shared = at
	}
	return shared, true
}
