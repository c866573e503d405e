package registry

import (
	"maps"
	"os"
	"time"
)

// hostsInterval is the shortest time between two checks of the files of hosts.
const hostsInterval = 10 * time.Second

// fileVersion changes with a file's content. The zero value means no file.
type fileVersion struct {
	modified time.Time
	size     int64
}

func versionOf(file string) fileVersion {
	info, err := os.Stat(file)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.ModTime(), info.Size()}
}

// current returns the endpoints by registry, and reloads changed files first. A
// failed reload is repeated after the next change.
func (h *hosts) current() map[string][]endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.Sub(h.checked) >= hostsInterval {
		h.checked = now
		if err := h.reload(); err != nil && h.onReloadError != nil {
			h.onReloadError(err)
		}
	}
	return h.byRegistry
}

// reload reads the files unless they are those of the last reload.
func (h *hosts) reload() error {
	present := map[string]fileVersion{}
	for file := range h.files {
		present[file] = versionOf(file)
	}
	if h.files != nil && maps.Equal(h.files, present) {
		return nil
	}
	byRegistry, files, err := readHosts(h.dir, h.options)
	if err != nil {
		maps.Copy(present, files) // the files after the broken one are still watched
		h.files = present
		return err
	}
	h.byRegistry, h.files = byRegistry, files
	return nil
}
