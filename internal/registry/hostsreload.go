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
		h.reload()
	}
	return h.byRegistry
}

func (h *hosts) reload() {
	known := h.files
	if h.failed != nil {
		known = h.failed
	}
	present := map[string]fileVersion{}
	for file := range known {
		present[file] = versionOf(file)
	}
	if maps.Equal(known, present) {
		return
	}
	byRegistry, files, err := readHosts(h.dir, h.options)
	if err != nil {
		// The files after the broken one are still watched.
		h.failed = present
		maps.Copy(h.failed, files)
		if h.onReloadError != nil {
			h.onReloadError(err)
		}
		return
	}
	h.byRegistry, h.files, h.failed = byRegistry, files, nil
}
