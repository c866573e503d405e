package main

import (
	"cmp"
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/pullauth"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// imageReader scans images for admission, with the Pod's own credentials.
type imageReader struct {
	secrets   pullauth.Resolver
	providers *pullauth.Providers
	scanner   *imagescan.Scanner
	early     bool
}

func newImageReader(mgr manager.Manager, o options) (*imageReader, error) {
	var err error
	if o.scanner.Registry, err = o.registryClient(); err != nil {
		return nil, err
	}
	var providers *pullauth.Providers
	if o.providerConfig != "" {
		if providers, err = pullauth.LoadProviders(o.providerConfig, o.providerPlugins); err != nil {
			return nil, err
		}
	}
	o.scanner.Inspector, o.scanner.Observer = inspect.Inspector(), newScanMetrics(metrics.Registry)
	scanner, err := imagescan.New(o.scanner)
	if err != nil {
		return nil, err
	}
	registerLoad(metrics.Registry, scanner.Load)
	return &imageReader{secrets: pullauth.Resolver{Reader: mgr.GetAPIReader()}, providers: providers, scanner: scanner, early: o.early}, nil
}

// registryClient returns the client for all registries.
func (o options) registryClient() (*registry.Client, error) {
	var err error
	if o.registry.TLS, err = registry.WithCertificates(o.registryCAs); err != nil {
		return nil, err
	}
	o.registry.UserAgent = "capvet/" + version
	o.registry.OnReloadError = func(err error) {
		logf.Log.WithName("registries").Error(err, "Cannot read the changed configuration of registries: the last good one stays in use")
	}
	return registry.NewClient(o.registry)
}

// Read implements admission.ImageReader.
func (r *imageReader) Read(ctx context.Context, puller admission.Puller, wanted judge.Wanted) (report.Report, error) {
	credentials, skipped, err := r.secrets.Credentials(ctx, puller.Namespace, puller.ServiceAccount, puller.ImagePullSecrets)
	if err != nil {
		return report.Report{}, err
	}
	if len(skipped) > 0 {
		logf.FromContext(ctx).Info("pull secrets are missing or broken, and left out", "namespace", puller.Namespace, "secrets", skipped)
	}
	if ref, err := name.ParseReference(wanted.Reference); err == nil { // the scanner reports a malformed one
		if err := r.providers.Add(ctx, credentials, ref.Context()); err != nil {
			logf.FromContext(ctx).Error(err, "going on without a plugin's credentials", "image", wanted.Reference)
		}
	}
	return r.scanner.Scan(ctx, imagescan.Request{
		Reference: wanted.Reference, Platform: wanted.Platform, Credentials: credentials, Early: r.early && !wanted.Scope.Trigger,
		Hinted: !wanted.Scope.AllImages, Words: wanted.Words,
		AllBinaries: wanted.Scope.AllBinaries, Namespace: puller.Namespace,
	})
}

// scanMetrics records scans as metrics. It implements imagescan.Observer.
type scanMetrics struct {
	seconds *prometheus.HistogramVec
	cached  prometheus.Counter
	waited  prometheus.Histogram
}

func newScanMetrics(r prometheus.Registerer) *scanMetrics {
	auto := promauto.With(r)
	return &scanMetrics{
		seconds: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "capvet_scan_duration_seconds",
			Help:    "Duration of scans of images without a cached report, by result: ok, or an error class.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}, []string{"result"}),
		cached: auto.NewCounter(prometheus.CounterOpts{
			Name: "capvet_scan_shared_total",
			Help: "Requests answered without a scan of their own: from the cache, or by the scan of another request.",
		}),
		waited: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "capvet_scan_wait_seconds",
			Help:    "Time that scans were queued before they started.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
	}
}

// Scanned implements imagescan.Observer.
func (m *scanMetrics) Scanned(took time.Duration, failure report.FailureClass) {
	m.seconds.WithLabelValues(cmp.Or(string(failure), "ok")).Observe(took.Seconds())
}

// Shared implements imagescan.Observer.
func (m *scanMetrics) Shared() { m.cached.Inc() }

// Waited implements imagescan.Observer.
func (m *scanMetrics) Waited(took time.Duration) { m.waited.Observe(took.Seconds()) }

// registerLoad registers gauges of the scanner's load.
func registerLoad(r prometheus.Registerer, load func() (running, waiting int)) {
	auto := promauto.With(r)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "capvet_scans_running",
		Help: "Running scans.",
	}, func() float64 { running, _ := load(); return float64(running) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "capvet_scans_waiting",
		Help: "Requests that wait for a scan to start.",
	}, func() float64 { _, waiting := load(); return float64(waiting) })
}
