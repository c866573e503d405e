package imagescan

import (
	"time"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// Options configure a Scanner.
type Options struct {
	// Inspector analyses files. Required.
	Inspector layers.Inspector
	// Registry opens registries. Required.
	Registry *registry.Client
	// ResolutionTTL is how long a resolved reference is cached per credential
	// set, FailureTTL how long a failure is; zero disables the cache.
	ResolutionTTL, FailureTTL time.Duration
	// TOC permits reading layers of eStargz and zstd:chunked images through their
	// table of contents: only selected files are fetched. The digest of the layer
	// is then unverified: its builder can make the table differ from the tar
	// stream, which most runtimes unpack.
	TOC bool
	// StopEarly ends a scan with its early report. Otherwise the scan continues
	// in the background, and the complete report is cached.
	StopEarly bool
	Limits    Limits
	// Observer receives events for metrics; nil means no observer.
	Observer Observer
}

// Observer receives the events of scans.
type Observer interface {
	// Scanned is called when a scan ends; failure is empty for a successful one.
	Scanned(took time.Duration, failure report.FailureClass)
	// Shared is called for a request that needs no scan of its own.
	Shared()
	// Waited is called when a scan starts, with the time that it was queued.
	Waited(took time.Duration)
}

// Limits bound the cost of scans. The zero value of a field means its default.
type Limits struct {
	layers.Limits
	// ScanTime bounds one scan, which its caller need not wait for.
	ScanTime time.Duration
	// Scans is the number of concurrent scans. A quarter of them is reserved for
	// namespaces without a running scan.
	Scans int64
	// Waiting is the most requests that wait for a scan to start. Beyond it, the
	// last request of the namespace with the most waiting requests is rejected.
	Waiting int
	// Memory is the memory of all scans together, in bytes: one half for files and
	// large manifests, the other for zstd windows.
	Memory int64
	// Cache is the number of cached reports, ReportCache their size in bytes.
	Cache       int
	ReportCache int64
	// LayerCache is the size of the cache of layers' summaries, in bytes.
	LayerCache int64
}

// Defaults of Limits.
const (
	DefaultScanTime    = 5 * time.Minute
	DefaultScans       = 8
	DefaultWaiting     = 1024
	DefaultMemory      = 256 << 20
	DefaultCache       = 4096
	DefaultReportCache = 32 << 20
	DefaultLayerCache  = 64 << 20
)

// reservedShare is the divisor for the share of scans, and of memory for files,
// that is reserved for namespaces without any.
const reservedShare = 4

func (l Limits) withDefaults() Limits {
	l.Limits = l.WithDefaults()
	imagefs.SetDefault(&l.ScanTime, DefaultScanTime)
	imagefs.SetDefault(&l.Scans, DefaultScans)
	imagefs.SetDefault(&l.Waiting, DefaultWaiting)
	imagefs.SetDefault(&l.Memory, DefaultMemory)
	imagefs.SetDefault(&l.Cache, DefaultCache)
	imagefs.SetDefault(&l.ReportCache, DefaultReportCache)
	imagefs.SetDefault(&l.LayerCache, DefaultLayerCache)
	return l
}
