package admission

import (
	"context"

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

// readFiles reads the configuration files in volumes that decide when calls run,
// in time when ctx ends.
func (h *Handler) readFiles(ctx context.Context, namespace string, s *subject.Subject, policies []policy.Policy, images []policy.Image) {
	if h.Files == nil {
		return
	}
	s.ReadFiles(h.Now(), policies, images, func(configMap, key string) (report.Settings, bool) {
		if ctx.Err() != nil {
			return report.Settings{}, false
		}
		return h.Files.Settings(ctx, namespace, configMap, key)
	})
}
