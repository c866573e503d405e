package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/capvet/capvet/internal/certs"
)

// certificateOptions choose the source of the serving certificate: files, or a
// certificate that capvet makes itself.
type certificateOptions struct {
	dir string
	certs.RotatorOptions
}

func (o *certificateOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.dir, "cert-dir", "",
		"`folder` with tls.crt and tls.key that another program maintains, such as cert-manager; both are read again when they change")
	flags.Func("certificate-secret", "Secret (`namespace/name`) in which capvet keeps a certificate that it makes itself, "+
		"instead of --cert-dir; the Secret must exist, and may be empty", func(s string) error {
		namespace, name, ok := strings.Cut(s, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return errors.New("give namespace/name")
		}
		o.Secret = types.NamespacedName{Namespace: namespace, Name: name}
		return nil
	})
	flags.StringVar(&o.Configuration, "webhook-configuration", "capvet",
		"`name` of the ValidatingWebhookConfiguration whose caBundle must accept the served certificate before capvet is ready; with "+
			"--certificate-secret capvet sets that caBundle; empty, with --cert-dir: no such check")
	flags.DurationVar(&o.Lifetime, "certificate-lifetime", certs.DefaultLifetime,
		"validity of a certificate that capvet makes; it is renewed when a third is left")
	flags.DurationVar(&o.TrustDelay, "certificate-trust-delay", certs.DefaultTrustDelay,
		"how long a certificate that capvet makes is in the caBundle before it is served")
}

func (o *certificateOptions) validate() error {
	switch own := o.Secret.Name != ""; {
	case own == (o.dir != ""):
		return errors.New("give either --certificate-secret or --cert-dir: the webhook needs a serving certificate")
	case own && o.Configuration == "":
		return errors.New("--certificate-secret needs --webhook-configuration: the certificate is made for the server names in it")
	case own && o.TrustDelay <= 0:
		return fmt.Errorf("--certificate-trust-delay is %s: give more than 0", o.TrustDelay)
	case own && o.Lifetime < 6*o.TrustDelay:
		return fmt.Errorf("--certificate-lifetime is %s: give at least six times --certificate-trust-delay, which is %s",
			o.Lifetime, o.TrustDelay)
	}
	return nil
}

// servingCertificate provides the review server's certificate. The server is made
// before the manager, and the certificate's source after it.
type servingCertificate struct{ source certs.Source }

// get is a tls.Config's GetCertificate.
func (s *servingCertificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.source.GetCertificate(hello)
}

// start sets the source of the certificate and returns a check whether the API
// server accepts it.
func (s *servingCertificate) start(ctx context.Context, mgr manager.Manager, o certificateOptions) (func(*http.Request) error, error) {
	var runnable manager.Runnable
	changed := func() {} // certwatcher needs no notice
	if o.dir != "" {
		watcher, err := certwatcher.New(filepath.Join(o.dir, "tls.crt"), filepath.Join(o.dir, "tls.key"))
		if err != nil {
			return nil, fmt.Errorf("reading the certificate in --cert-dir: %w", err)
		}
		s.source, runnable = watcher, watcher
	} else {
		o.Live, o.Writer, o.Now, o.Log = mgr.GetAPIReader(), mgr.GetClient(), time.Now, mgr.GetLogger().WithName("certificates")
		rotator := certs.NewRotator(o.RotatorOptions)
		s.source, runnable, changed = rotator, rotator, rotator.Changed
	}
	if err := mgr.Add(runnable); err != nil {
		return nil, err
	}
	if o.Configuration == "" {
		return func(*http.Request) error { return nil }, nil
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	informer, err := mgr.GetCache().GetInformer(ctx, configuration, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching the webhook configuration: %w", err)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	}); err != nil {
		return nil, fmt.Errorf("watching the webhook configuration: %w", err)
	}
	trust := &certs.Trust{
		Served: s.source, Cached: mgr.GetCache(), Live: mgr.GetAPIReader(),
		Configuration: o.Configuration, Now: time.Now,
	}
	certs.RegisterMetrics(context.WithoutCancel(ctx), metrics.Registry, trust)
	return func(r *http.Request) error { return trust.Check(r.Context()) }, nil
}
