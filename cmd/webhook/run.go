package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/admission"
)

// The paths that the webhook serves.
const (
	pathValidatePods       = "/validate-pods"
	pathValidateWorkloads  = "/validate-workloads"
	pathValidateNamespaces = "/validate-namespaces"
)

// run serves until ctx ends, and then as long as it takes to leave in order.
func run(ctx context.Context, o options) error {
	log := newLogger(o)
	ctrl.SetLogger(log)
	log.Info("starting", "version", version)
	// Garbage is collected harder before the container's limit is met.
	if _, err := memlimit.Set(); err != nil {
		log.Error(err, "cannot tell how much memory there is; going on without a limit")
	}

	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), admissionregistrationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	restConfig, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("no way to the API server (give --kubeconfig, or run in a cluster): %w", err)
	}
	restConfig.UserAgent = "capvet/" + version
	certificate, deadlines := &servingCertificate{}, &admission.Deadlines{}
	asking, err := newCallers(o.callers)
	if err != nil {
		return err
	}
	connections, err := newConnections(o.server.connections, metrics.Registry)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	mgr, err := manager.New(restConfig, manager.Options{
		Scheme: scheme,
		Logger: log,
		WebhookServer: &reviewServer{
			Server: webhook.NewServer(webhook.Options{}), options: o.server, connections: connections, deadlines: deadlines,
			tls:    []func(*tls.Config){certificate.tls, asking.tls},
			errors: slog.NewLogLogger(logr.ToSlogHandler(log.WithName("connections")), slog.LevelDebug), // strangers do not fill the log
		},
		Metrics:                metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress: o.healthAddress,
		PprofBindAddress:       o.pprofAddress,
		Cache:                  o.cacheOptions(),
	})
	if err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	trusted, err := certificate.start(ctx, mgr, o.certificates)
	if err != nil {
		return err
	}
	policies, err := admission.NewPolicyIndex(ctx, mgr.GetCache(), mgr.GetAPIReader())
	if err != nil {
		return err
	}
	var source admission.PolicySource = policies
	cluster := clusterPolicies{index: policies}
	if o.presets != "" {
		fixed, err := readPresets(o.presets)
		if err != nil {
			return err
		}
		cluster.fixed = fixed
		source = &presets{next: policies, policies: fixed, namespaces: mgr.GetCache(), live: mgr.GetAPIReader()}
	}
	if err := addStatusWriter(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the status of policies: %w", err)
	}
	nodes, err := admission.NewNodeIndex(ctx, mgr.GetCache(), o.architectures)
	if err != nil {
		return err
	}
	observer, err := admission.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	images, err := newImageReader(mgr, o)
	if err != nil {
		return err
	}
	var leaving atomic.Bool
	server := mgr.GetWebhookServer() // asking for it is what makes the manager run it
	handler := &admission.Handler{Policies: source, Nodes: nodes, Images: images, Observer: observer, Now: time.Now}
	if o.readConfigMaps {
		handler.Files = configMapFiles{mgr.GetAPIReader()}
	}
	reviews := admission.NewServer(o.reviewMemory, log.WithName("admission"))
	for path, judge := range map[string]http.Handler{
		pathValidatePods:       deadlines.Set(reviews.Serve(handler)),
		pathValidateWorkloads:  deadlines.Set(reviews.Serve(handler)),
		pathValidateNamespaces: reviews.Serve(&admission.NamespaceHandler{Policies: cluster}),
	} {
		server.Register(path, parting(&leaving, asking.admit(connections.asking(judge))))
	}

	// Ready means: listener up with a certificate (a TLS handshake proves both),
	// which the API server accepts, caches synced, and not on the way out.
	checks := map[string]healthz.Checker{
		"webhook":     server.StartedChecker(),
		"certificate": trusted,
		"policies": func(*http.Request) error {
			if !policies.Synced() {
				return errors.New("the policies are not all known yet")
			}
			return nil
		},
		"nodes": func(*http.Request) error {
			if !nodes.Synced() {
				return errors.New("the nodes are not all known yet")
			}
			return nil
		},
		"serving": func(*http.Request) error {
			if leaving.Load() {
				return errors.New("shutting down")
			}
			return nil
		},
	}
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return err
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}

	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return
		}
		log.Info("leaving: no longer ready, still serving", "delay", o.shutdownDelay.String())
		leaving.Store(true)
		time.Sleep(o.shutdownDelay)
		stop()
	}()
	if err := mgr.Start(serving); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	log.Info("left")
	return nil
}

// parting has each caller close its connection after an answer, once the
// process is leaving. An API server keeps connections open between reviews; one
// that sends a review down such a connection at the moment when the server closes
// it for good gets no answer, and does not ask again.
func parting(leaving *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func newLogger(o options) logr.Logger {
	handlerOptions := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "text" {
		return logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, handlerOptions))
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, handlerOptions))
}
