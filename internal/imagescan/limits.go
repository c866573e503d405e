package imagescan

import (
	"runtime"
	"time"

	"github.com/capvet/capvet/internal/imagefs"
)

// Limits bound what scans may cost. The zero value of a field means its default.
type Limits struct {
	// Layer bounds each layer.
	Layer imagefs.Limits
	// Layers is the most layers of an image.
	Layers int
	// LayersAtOnce is how many layers of one image are read at a time.
	LayersAtOnce int
	// LayerBytes is the largest packed layer.
	LayerBytes int64
	// TableBytes is the largest table of contents of a layer, packed or not.
	TableBytes int64
	// TableFrom is the smallest packed layer, in bytes, that is read through its
	// table of contents.
	TableFrom int64
	// ScanTime is how long one scan may take, however long its callers wait.
	ScanTime time.Duration
	// StallTime is how long a registry may send nothing of a layer, and StallBytes
	// the least that it has to send in each such time: a drip would hold a scan
	// until its time is up.
	StallTime  time.Duration
	StallBytes int64
	// Scans is how many scans run at a time. A quarter of them is kept for
	// namespaces that have none running.
	Scans int64
	// Waiting is how many requests may wait for their turn to be scanned. Beyond
	// it, the last of the namespace with the most of them is turned away.
	Waiting int
	// FileBytes is the largest file that is analysed.
	FileBytes int64
	// Executables is how many executables and libraries of one layer are looked
	// at though no name speaks for them, ExecutableBytes how many bytes they may
	// have together. What is left out is a gap.
	Executables     int
	ExecutableBytes int64
	// Memory is how many bytes scans may hold at a time, together: one half for
	// files, the other for zstd windows.
	Memory int64
	// Cache is how many reports are kept.
	Cache int
	// LayerCache is how many bytes of summaries of layers are kept.
	LayerCache int64
}

// Defaults of Limits.
const (
	DefaultLayers     = 256 // twice what overlayfs mounts
	DefaultLayerBytes = 8 << 30
	DefaultTableBytes = 64 << 20 // some 200,000 files
	DefaultTableFrom  = 4 << 20  // a smaller one is read in full about as fast
	DefaultScanTime   = 5 * time.Minute
	DefaultStallTime  = 30 * time.Second
	DefaultStallBytes = 256 << 10 // some 9 kB a second
	DefaultScans      = 8
	DefaultWaiting    = 1024
	DefaultFileBytes  = 256 << 20
	DefaultMemory     = 256 << 20
	// Distributions' own images have some thousands, of a few hundred megabytes.
	DefaultExecutables     = 16384
	DefaultExecutableBytes = 4 << 30
	DefaultCache           = 4096
	DefaultLayerCache      = 64 << 20
)

// reserved is which part of scans, and of the memory for files, is kept for
// namespaces that have none.
const reserved = 4

// DefaultLayersAtOnce returns the number of cores: unpacking is what takes the
// time.
func DefaultLayersAtOnce() int { return runtime.GOMAXPROCS(0) }

func (l Limits) withDefaults() Limits {
	l.Layer = l.Layer.WithDefaults()
	setDefault(&l.Layers, DefaultLayers)
	setDefault(&l.LayersAtOnce, DefaultLayersAtOnce())
	setDefault(&l.LayerBytes, DefaultLayerBytes)
	setDefault(&l.TableBytes, DefaultTableBytes)
	setDefault(&l.TableFrom, DefaultTableFrom)
	setDefault(&l.ScanTime, DefaultScanTime)
	setDefault(&l.StallTime, DefaultStallTime)
	setDefault(&l.StallBytes, DefaultStallBytes)
	setDefault(&l.Scans, DefaultScans)
	setDefault(&l.Waiting, DefaultWaiting)
	setDefault(&l.FileBytes, DefaultFileBytes)
	setDefault(&l.Executables, DefaultExecutables)
	setDefault(&l.ExecutableBytes, DefaultExecutableBytes)
	setDefault(&l.Memory, DefaultMemory)
	setDefault(&l.Cache, DefaultCache)
	setDefault(&l.LayerCache, DefaultLayerCache)
	return l
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
