// Package imagefs reads the layers of a container image as streams and says
// what the file system that they make together holds.
//
// ReadLayer reads one layer in one pass and keeps what the overlay needs: which
// paths it has, which it removes, where its links point, and the files that
// were asked for. Tree puts layers on top of each other and resolves paths. It
// is not for unpacking: nothing is written to disk, and nothing is executed.
//
// Everything in a layer is taken to be hostile: names, links, sizes and counts
// are bounded by Limits, and a bound that is met is an error that wraps
// ErrTooLarge.
package imagefs

import "errors"

var (
	// ErrTooLarge says that a layer met one of the limits.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed says that a layer is not what its format asks for.
	ErrMalformed = errors.New("malformed")
	// ErrSource says that the layer's packed bytes could not be read.
	ErrSource = errors.New("reading the layer")
)

// Limits bound what reading one layer may cost. The zero value of a field means
// its default.
type Limits struct {
	// Entries is the most entries of one layer.
	Entries int
	// NameBytes is the longest path of an entry, in bytes.
	NameBytes int
	// Files is the most files of one layer that are looked at, links of the
	// same names included.
	Files int
	// LinkBytes is the most bytes that the names and targets of one layer's
	// links may have together: they are kept in memory.
	LinkBytes int64
	// UnpackedBytes is the most that a layer may unpack to.
	UnpackedBytes int64
	// WindowBytes is the largest window that a zstd layer may ask for: that much
	// of it is kept in memory.
	WindowBytes int64
	// Ratio is how many times its packed size a layer may unpack to, once it
	// has unpacked to more than RatioFrom bytes.
	Ratio int64
}

// Defaults of Limits.
const (
	DefaultEntries       = 1 << 20
	DefaultNameBytes     = 4096 // PATH_MAX of Linux
	DefaultFiles         = 64
	DefaultLinkBytes     = 64 << 20
	DefaultUnpackedBytes = 16 << 30
	DefaultWindowBytes   = 64 << 20 // zstd's own levels up to 19 take 8 MiB, the Go encoder's best 32 MiB
	DefaultRatio         = 200
)

// RatioFrom is how much a layer may unpack to, in bytes, before its ratio
// counts: small layers of zeroes are common and harm nobody.
const RatioFrom = 256 << 20

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	setDefault(&l.Entries, DefaultEntries)
	setDefault(&l.NameBytes, DefaultNameBytes)
	setDefault(&l.Files, DefaultFiles)
	setDefault(&l.LinkBytes, DefaultLinkBytes)
	setDefault(&l.UnpackedBytes, DefaultUnpackedBytes)
	setDefault(&l.WindowBytes, DefaultWindowBytes)
	setDefault(&l.Ratio, DefaultRatio)
	return l
}

func setDefault[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
