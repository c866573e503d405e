package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/prometheus/client_golang/prometheus"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/pullauth"
	"github.com/capvet/capvet/internal/report"
)

// imageReader reads images for admission: with the Pod's own credentials,
// through the scanner.
type imageReader struct {
	secrets   pullauth.Resolver
	providers *pullauth.Providers
	scanner   *imagescan.Scanner
	early     bool
}

var _ admission.ImageReader = (*imageReader)(nil)

func newImageReader(mgr manager.Manager, o options) (*imageReader, error) {
	observer, err := newScanMetrics(metrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	connections, err := o.connections()
	if err != nil {
		return nil, err
	}
	var hosts *imagescan.Hosts
	if o.registryConfig != "" {
		if hosts, err = imagescan.LoadHosts(o.registryConfig, connections); err != nil {
			return nil, err
		}
		hosts.Failed = func(err error) {
			logf.Log.WithName("registries").Error(err, "The configuration of registries changed and could not be read: what was read last holds")
		}
	}
	var providers *pullauth.Providers
	if o.providerConfig != "" {
		if providers, err = pullauth.LoadProviders(o.providerConfig, o.providerPlugins); err != nil {
			return nil, err
		}
	}
	scanner, err := imagescan.New(imagescan.Options{
		Analyze:     inspect.File,
		IsCandidate: product.IsExecutable,
		IsHint:      product.Hinted,
		Other:       inspect.Other,
		Settings:    product.Settings,
		Libraries:   imagescan.Libraries{Is: inspect.IsLibrary, Resolve: inspect.Resolve},
		Transport:   imagescan.NewTransport(connections),
		Hosts:       hosts,
		Registries:  o.registries,
		Tables:      o.tables,
		TagsFor:     o.tagsFor,
		FailuresFor: o.failuresFor,
		PlainHTTP:   o.plainHTTP,
		UserAgent:   "capvet/" + version,
		Limits:      o.limits,
		Observer:    observer,
	})
	if err != nil {
		return nil, err
	}
	if err := registerLoad(metrics.Registry, scanner.Load); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return &imageReader{secrets: pullauth.Resolver{Reader: mgr.GetAPIReader()}, providers: providers, scanner: scanner, early: o.early}, nil
}

// connections says where connections may go and what they trust.
func (o options) connections() (imagescan.TransportOptions, error) {
	tls, err := imagescan.WithCertificates(o.registryCAs)
	return imagescan.TransportOptions{PlainHTTP: o.plainHTTP, Allow: o.allowAddresses, Deny: o.denyAddresses, TLS: tls}, err
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
	if ref, err := name.ParseReference(wanted.Reference); err == nil { // if not, the scanner says so
		if err := r.providers.Add(ctx, credentials, ref.Context()); err != nil {
			logf.FromContext(ctx).Error(err, "going on without a plugin's credentials", "image", wanted.Reference)
		}
	}
	return r.scanner.Scan(ctx, imagescan.Request{
		Reference: wanted.Reference, Platform: wanted.Platform, Credentials: credentials, Early: r.early && !wanted.Scope.Trigger,
		Hinted: !wanted.Scope.AllImages, Words: wanted.Words,
		Others: wanted.Scope.AllBinaries, Namespace: puller.Namespace,
	})
}

// scanMetrics is the scanner's observer.
type scanMetrics struct {
	seconds *prometheus.HistogramVec
	cached  prometheus.Counter
	waited  prometheus.Histogram
}

func newScanMetrics(r prometheus.Registerer) (*scanMetrics, error) {
	m := &scanMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "capvet_scan_duration_seconds",
			Help:    "Time to read an image that was not known yet, by how it ended: ok, or a class of error.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}, []string{"result"}),
		cached: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "capvet_scan_shared_total",
			Help: "Images answered without a scan of their own: remembered, or being scanned for another request.",
		}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "capvet_scan_wait_seconds",
			Help:    "Time that scans waited for their turn before they began.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
	}
	for _, c := range []prometheus.Collector{m.seconds, m.cached, m.waited} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Scanned implements imagescan.Observer.
func (m *scanMetrics) Scanned(took time.Duration, failure report.FailureClass) {
	result := "ok"
	if failure != "" {
		result = string(failure)
	}
	m.seconds.WithLabelValues(result).Observe(took.Seconds())
}

// Shared implements imagescan.Observer.
func (m *scanMetrics) Shared() { m.cached.Inc() }

// Waited implements imagescan.Observer.
func (m *scanMetrics) Waited(took time.Duration) { m.waited.Observe(took.Seconds()) }

// registerLoad has metrics say what the scanner has to do at the moment.
func registerLoad(r prometheus.Registerer, load func() (running, waiting int)) error {
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "capvet_scans_running",
			Help: "Scans under way.",
		}, func() float64 { running, _ := load(); return float64(running) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "capvet_scans_waiting",
			Help: "Requests that wait for their turn to be scanned.",
		}, func() float64 { _, waiting := load(); return float64(waiting) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
