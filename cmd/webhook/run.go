package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/clusterstate"
	"github.com/capvet/capvet/internal/reviewserver"
)

// run serves until ctx ends, and then drains the server.
func run(ctx context.Context, o options) error {
	log, lines := newLogger(o, os.Stderr, metrics.Registry)
	defer lines.close()
	setLogger(log, lines)
	log.Info("starting", "version", version)
	// Go collects garbage harder as memory nears the container's limit.
	if _, err := memlimit.Set(); err != nil {
		log.Error(err, "cannot read the container's memory limit; going on without one")
	}
	certificate := &servingCertificate{}
	o.server.GetCertificate, o.server.Registry, o.server.Log = certificate.get, metrics.Registry, log
	server, err := reviewserver.New(o.server)
	if err != nil {
		return err
	}
	mgr, err := newManager(o, server, log)
	if err != nil {
		return err
	}
	trusted, err := certificate.start(ctx, mgr, o.certificates)
	if err != nil {
		return err
	}
	if err := addStatusWriter(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the status of policies: %w", err)
	}
	policies, nodes, err := newIndexes(ctx, mgr, o)
	if err != nil {
		return err
	}
	if err := addHandlers(mgr, o, server, policies, nodes); err != nil {
		return err
	}
	if err := addChecks(mgr, server, trusted, policies, nodes); err != nil {
		return err
	}
	return serve(ctx, mgr, server, o.shutdownDelay)
}

func newManager(o options, server *reviewserver.Server, log logr.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), admissionregistrationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	restConfig, err := config.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("no way to the API server (give --kubeconfig, or run in a cluster): %w", err)
	}
	restConfig.UserAgent = "capvet/" + version
	o.manager.Scheme, o.manager.Logger, o.manager.WebhookServer, o.manager.Cache = scheme, log, server, o.cacheOptions()
	mgr, err := manager.New(restConfig, o.manager)
	if err != nil {
		return nil, fmt.Errorf("setting up: %w", err)
	}
	return mgr, nil
}

func newIndexes(ctx context.Context, mgr manager.Manager, o options) (*clusterstate.PolicyIndex, *clusterstate.NodeIndex, error) {
	presets, err := readPresets(o.presets)
	if err != nil {
		return nil, nil, err
	}
	policies, err := clusterstate.NewPolicyIndex(ctx, mgr.GetCache(), mgr.GetAPIReader(), presets)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := clusterstate.NewNodeIndex(ctx, mgr.GetCache(), o.architectures)
	return policies, nodes, err
}

func addHandlers(
	mgr manager.Manager, o options, server *reviewserver.Server, policies *clusterstate.PolicyIndex, nodes *clusterstate.NodeIndex,
) error {
	images, err := newImageReader(mgr, o)
	if err != nil {
		return err
	}
	handler := &admission.Handler{
		Policies: policies, Nodes: nodes, Images: images, Observer: admission.NewMetrics(metrics.Registry), Now: time.Now,
	}
	if o.readConfigMaps {
		handler.Files = configMapFiles{mgr.GetAPIReader()}
	}
	server.Handle("/validate-pods", handler)
	server.Handle("/validate-workloads", handler)
	server.Handle("/validate-namespaces", &admission.NamespaceHandler{Policies: policies})
	return nil
}

// addChecks makes the process ready when the listener has a certificate and answers
// (a request over TLS proves both), the API server accepts it, the caches are synced,
// reviews are answered, and the server is not draining.
func addChecks(
	mgr manager.Manager, server *reviewserver.Server, trusted healthz.Checker,
	policies *clusterstate.PolicyIndex, nodes *clusterstate.NodeIndex,
) error {
	checks := map[string]healthz.Checker{
		"webhook":     mgr.GetWebhookServer().StartedChecker(), // GetWebhookServer also makes the manager start it
		"certificate": trusted,
		"policies":    failing("the policies are not all known yet", func() bool { return !policies.Synced() }),
		"nodes":       failing("the nodes are not all known yet", func() bool { return !nodes.Synced() }),
		"serving":     failing("shutting down", server.Draining),
		"answering":   server.AnsweringChecker(reviewserver.NotReadyAfter),
	}
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return err
		}
	}
	return errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddHealthzCheck("answering", server.AnsweringChecker(reviewserver.NotAliveAfter)))
}

// failing returns a check that fails with reason while a condition is true.
func failing(reason string, condition func() bool) healthz.Checker {
	return func(*http.Request) error {
		if condition() {
			return errors.New(reason)
		}
		return nil
	}
}

// serve runs the manager until ctx ends, and for delay after that: endpoints are
// withdrawn before the listener closes.
func serve(ctx context.Context, mgr manager.Manager, server *reviewserver.Server, delay time.Duration) error {
	log := mgr.GetLogger()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return
		}
		log.Info("draining: no longer ready, still serving", "delay", delay.String())
		server.Drain()
		time.Sleep(delay)
		stop()
	}()
	if err := mgr.Start(serving); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	log.Info("stopped")
	return nil
}

// newLogger returns the logger of the process, and its writer to out.
func newLogger(o options, out io.Writer, r prometheus.Registerer) (logr.Logger, *logWriter) {
	handlerOptions := &slog.HandlerOptions{Level: o.logLevel}
	handler := func(w io.Writer) slog.Handler {
		if o.logFormat == "text" {
			return slog.NewTextHandler(w, handlerOptions)
		}
		return slog.NewJSONHandler(w, handlerOptions)
	}
	direct := slog.New(handler(out))
	lines := newLogWriter(out, r, func(dropped int) {
		direct.Error("lines of the log were dropped, because its reader did not keep up", "lines", dropped)
	})
	return logr.FromSlogHandler(handler(lines)), lines
}

// setLogger makes all packages write to the log in the background.
func setLogger(log logr.Logger, lines io.Writer) {
	ctrl.SetLogger(log)
	klog.SetLogger(log)            // client-go's, which would write to stderr itself
	stdlog.SetOutput(lines)        // of net/http's servers for health and metrics
	signal.Ignore(syscall.SIGPIPE) // a reader that is gone for good ends no process
}
