// Package imagefs reads the layers of a container image as streams and resolves
// paths in the file system that they form together.
//
// ReadLayer reads one layer in one pass and keeps its paths, its whiteouts, its
// links and the selected files. Tree stacks layers, applies their whiteouts
// (whiteout.go) and resolves paths as the kernel does. The package unpacks no
// layer: it neither writes nor executes files.
//
// Layers are hostile: Limits bounds their names, links, sizes and counts, and
// the error past a limit wraps ErrTooLarge.
package imagefs

import (
	"errors"
	"time"
)

var (
	// ErrTooLarge reports a layer over one of its limits.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed reports a violation of a layer's format.
	ErrMalformed = errors.New("malformed")
	// ErrSource reports a failure to read the compressed layer.
	ErrSource = errors.New("reading the layer")
)

// Limits bound the cost of reading one layer. The zero value of a field means
// its default.
type Limits struct {
	// Entries is the most entries of one layer. Each of its directories with
	// content counts as another one.
	Entries int
	// NameBytes is the longest path of an entry, in bytes.
	NameBytes int
	// Files is the most selected files of one layer, links included.
	Files int
	// LinkBytes is the most bytes of the names and targets of one layer's links,
	// which stay in memory.
	LinkBytes int64
	// Memory is the most memory of one layer's paths and links, in bytes.
	Memory int64
	// UnpackedBytes is the largest uncompressed layer, in bytes.
	UnpackedBytes int64
	// WindowBytes is the largest window of a zstd layer, in bytes, which stays in
	// memory.
	WindowBytes int64
	// Ratio is the largest ratio of a layer's uncompressed to its compressed size.
	// It applies beyond RatioFrom uncompressed bytes.
	Ratio int64
}

// Defaults of Limits.
const (
	DefaultEntries       = 1 << 20
	DefaultNameBytes     = 4096 // PATH_MAX of Linux
	DefaultFiles         = 64
	DefaultLinkBytes     = 64 << 20
	DefaultMemory        = 32 << 20 // of about a million entries
	DefaultUnpackedBytes = 16 << 30
	DefaultWindowBytes   = 64 << 20 // zstd's own levels up to 19 take 8 MiB, the Go encoder's best 32 MiB
	DefaultRatio         = 200
)

// RatioFrom is the uncompressed size, in bytes, from which Limits.Ratio applies:
// small layers of zeroes are common and harmless.
const RatioFrom = 256 << 20

// WithDefaults returns l with its defaults filled in.
func (l Limits) WithDefaults() Limits {
	SetDefault(&l.Entries, DefaultEntries)
	SetDefault(&l.NameBytes, DefaultNameBytes)
	SetDefault(&l.Files, DefaultFiles)
	SetDefault(&l.LinkBytes, DefaultLinkBytes)
	SetDefault(&l.Memory, DefaultMemory)
	SetDefault(&l.UnpackedBytes, DefaultUnpackedBytes)
	SetDefault(&l.WindowBytes, DefaultWindowBytes)
	SetDefault(&l.Ratio, DefaultRatio)
	return l
}

// SetDefault sets a limit that is not positive to its default.
func SetDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
