package imagescan

import (
	"maps"
	"os"
	"time"
)

// hostsEvery is how often the files of Hosts are looked at, at most.
const hostsEvery = 10 * time.Second

// stamp tells whether a file is another than it was. The zero value: there is
// none.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// current returns the endpoints by registry, read anew where a file has changed.
// What cannot be read is tried again once it has changed again.
func (h *Hosts) current() map[string][]endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.Sub(h.looked) >= hostsEvery {
		h.looked = now
		h.refresh()
	}
	return h.byRegistry
}

func (h *Hosts) refresh() {
	known := h.files
	if h.tried != nil {
		known = h.tried
	}
	present := map[string]stamp{}
	for file := range known {
		present[file] = stampOf(file)
	}
	if maps.Equal(known, present) {
		return
	}
	byRegistry, files, err := readHosts(h.dir, h.options)
	if err != nil {
		// What it did not come to any more is looked at all the same.
		h.tried = present
		maps.Copy(h.tried, files)
		if h.Failed != nil {
			h.Failed(err)
		}
		return
	}
	h.byRegistry, h.files, h.tried = byRegistry, files, nil
}
