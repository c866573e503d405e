package layers

import (
	"runtime"

	"github.com/capvet/capvet/internal/imagefs"
)

// Limits bound the cost of reading one image. The zero value of a field means
// its default.
type Limits struct {
	// Layer bounds each layer.
	Layer imagefs.Limits
	// Layers is the most layers of an image.
	Layers int
	// LayersAtOnce is the number of layers of one image read concurrently.
	LayersAtOnce int
	// LayerBytes is the largest compressed layer, in bytes.
	LayerBytes int64
	// TOCBytes is the largest table of contents of a layer, in bytes, compressed
	// or not.
	TOCBytes int64
	// TOCFrom is the smallest compressed layer, in bytes, that is read through
	// its table of contents.
	TOCFrom int64
	// ResultBytes is the most memory, in bytes, of the results of all layers of an
	// image: paths, links and analyses. It is the default of Layer.Memory.
	ResultBytes int64
	// FileBytes is the largest file that is analysed, in bytes.
	FileBytes int64
	// Executables is the most executables and libraries of one layer that are
	// screened although no name selects them, ExecutableBytes their total size.
	// Further ones become a gap.
	Executables     int
	ExecutableBytes int64
}

// Defaults of Limits.
const (
	DefaultLayers     = 256 // twice the layers that overlayfs mounts
	DefaultLayerBytes = 8 << 30
	DefaultTOCBytes   = 64 << 20 // about 200,000 files
	DefaultTOCFrom    = 4 << 20  // below it, reading in full is about as fast
	// About a million files. Several images may be in memory.
	DefaultResultBytes = 32 << 20
	DefaultFileBytes   = 256 << 20
	// Images of whole distributions have some thousand executables, of a few
	// hundred megabytes.
	DefaultExecutables     = 16384
	DefaultExecutableBytes = 4 << 30
)

// ratioFrom is the uncompressed size of an image, in bytes, from which Layer.Ratio
// applies to all of its layers together: 256 layers may each stay below
// imagefs.RatioFrom.
const ratioFrom = 4 * imagefs.RatioFrom

// DefaultLayersAtOnce returns the number of cores: decompression dominates.
func DefaultLayersAtOnce() int { return runtime.GOMAXPROCS(0) }

// WithDefaults returns l with its defaults filled in.
func (l Limits) WithDefaults() Limits {
	imagefs.SetDefault(&l.ResultBytes, DefaultResultBytes)
	imagefs.SetDefault(&l.Layer.Memory, l.ResultBytes)
	l.Layer = l.Layer.WithDefaults()
	imagefs.SetDefault(&l.Layers, DefaultLayers)
	imagefs.SetDefault(&l.LayersAtOnce, DefaultLayersAtOnce())
	imagefs.SetDefault(&l.LayerBytes, DefaultLayerBytes)
	imagefs.SetDefault(&l.TOCBytes, DefaultTOCBytes)
	imagefs.SetDefault(&l.TOCFrom, DefaultTOCFrom)
	imagefs.SetDefault(&l.FileBytes, DefaultFileBytes)
	imagefs.SetDefault(&l.Executables, DefaultExecutables)
	imagefs.SetDefault(&l.ExecutableBytes, DefaultExecutableBytes)
	return l
}
