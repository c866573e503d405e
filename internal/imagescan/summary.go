package imagescan

import (
	"maps"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// summary is what one layer contributes to any image. It never changes: images
// that share the layer share it.
type summary struct {
	layer  *imagefs.Layer
	files  map[string]found // by path in the layer: what was analysed
	stored int64            // bytes of the layer as it is stored
}

// found is what the analysis of one file came to.
type found struct {
	binary report.Binary
	err    error // the file could not be analysed
}

// findingBytes is about what one analysed file takes in memory.
const findingBytes = 4 << 10

// bytes returns about how much memory the summary takes.
func (s *summary) bytes() int64 {
	return s.layer.Bytes() + findingBytes*int64(len(s.files)+1)
}

// has reports whether all of these files were analysed.
func (s *summary) has(wanted map[string]bool) bool {
	for name := range wanted {
		if _, ok := s.files[name]; !ok {
			return false
		}
	}
	return true
}

// known returns what was analysed, to be added to.
func (s *summary) known() map[string]found {
	if s == nil {
		return map[string]found{}
	}
	return maps.Clone(s.files)
}
