package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner is the field manager of the caBundle.
const fieldOwner = client.FieldOwner("capvet-certificates")

// liveTimeout bounds a read from the API server for readiness.
const liveTimeout = 2 * time.Second

// serverName returns the name under which the API server verifies a webhook's
// certificate: a Service's, or a URL's host.
func serverName(c admissionregistrationv1.WebhookClientConfig) (string, error) {
	switch {
	case c.Service != nil:
		return c.Service.Name + "." + c.Service.Namespace + ".svc", nil
	case c.URL != nil:
		u, err := url.Parse(*c.URL)
		if err != nil || u.Hostname() == "" {
			return "", errors.New("its clientConfig has a URL without a host")
		}
		return u.Hostname(), nil
	}
	return "", errors.New("its clientConfig has neither a service nor a URL")
}

// serverNames returns the names of all webhooks of a configuration, sorted.
func serverNames(c *admissionregistrationv1.ValidatingWebhookConfiguration) ([]string, error) {
	if len(c.Webhooks) == 0 {
		return nil, fmt.Errorf("ValidatingWebhookConfiguration %s has no webhooks", c.Name)
	}
	var names []string
	for i := range c.Webhooks {
		name, err := serverName(c.Webhooks[i].ClientConfig)
		if err != nil {
			return nil, fmt.Errorf("webhook %s of ValidatingWebhookConfiguration %s: %w", c.Webhooks[i].Name, c.Name, err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// verify verifies a certificate as the API server does when it calls the webhooks of
// a configuration.
func verify(
	c *admissionregistrationv1.ValidatingWebhookConfiguration,
	certificate *x509.Certificate, intermediates []*x509.Certificate, now time.Time,
) error {
	if len(c.Webhooks) == 0 {
		return fmt.Errorf("ValidatingWebhookConfiguration %s has no webhooks", c.Name)
	}
	for i := range c.Webhooks {
		config := c.Webhooks[i].ClientConfig
		name, err := serverName(config)
		if err == nil && len(config.CABundle) == 0 {
			err = errors.New("it has no caBundle")
		}
		if err == nil {
			options := x509.VerifyOptions{DNSName: name, CurrentTime: now, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
			options.Roots.AppendCertsFromPEM(config.CABundle)
			for _, intermediate := range intermediates {
				options.Intermediates.AddCert(intermediate)
			}
			_, err = certificate.Verify(options)
		}
		if err != nil {
			return fmt.Errorf("webhook %s of ValidatingWebhookConfiguration %s does not accept the served certificate: %w",
				c.Webhooks[i].Name, c.Name, err)
		}
	}
	return nil
}

// repair sets the caBundle of every webhook of a configuration, and reports whether
// one was different. If the configuration has changed in the meantime, the error
// is a conflict.
func repair(ctx context.Context, w client.Writer, c *admissionregistrationv1.ValidatingWebhookConfiguration, bundle []byte) (bool, error) {
	different := func(w admissionregistrationv1.ValidatingWebhook) bool {
		return !bytes.Equal(w.ClientConfig.CABundle, bundle)
	}
	if !slices.ContainsFunc(c.Webhooks, different) {
		return false, nil
	}
	repaired := c.DeepCopy()
	for i := range repaired.Webhooks {
		repaired.Webhooks[i].ClientConfig.CABundle = bundle
	}
	patch := client.StrategicMergeFrom(c, client.MergeFromWithOptimisticLock{})
	if err := w.Patch(ctx, repaired, patch, fieldOwner); err != nil {
		return false, fmt.Errorf("setting the caBundle of ValidatingWebhookConfiguration %s: %w", c.Name, err)
	}
	return true, nil
}

// Trust checks that the API server accepts the served certificate.
type Trust struct {
	// Served provides the served certificate.
	Served Source
	// Cached reads the webhook configuration from a cache.
	Cached client.Reader
	// Live reads it from the API server itself. It is used when the cached
	// configuration does not accept the certificate: after an outage of the API
	// server a cache can be half a minute behind.
	Live client.Reader
	// Configuration is the name of the ValidatingWebhookConfiguration.
	Configuration string
	Now           func() time.Time

	once atomic.Bool // the certificate has been accepted before
}

// Check returns an error if the API server would not accept the served certificate.
// A configuration that was deleted after a successful check is not an error: it
// causes no failed call, and the replicas should be ready when it returns.
func (t *Trust) Check(ctx context.Context) error {
	served, err := t.Served.GetCertificate(nil)
	if err != nil {
		return err
	}
	if served == nil || served.Leaf == nil {
		return errNoCertificate
	}
	err = t.accepted(ctx, t.Cached, served)
	if err != nil && !apierrors.IsNotFound(err) {
		ctx, cancel := context.WithTimeout(ctx, liveTimeout)
		defer cancel()
		err = t.accepted(ctx, t.Live, served)
	}
	if apierrors.IsNotFound(err) && t.once.Load() {
		return nil
	}
	if err != nil {
		return err
	}
	t.once.Store(true)
	return nil
}

// accepted returns an error if the configuration that reader has does not accept the
// served certificate.
func (t *Trust) accepted(ctx context.Context, reader client.Reader, served *tls.Certificate) error {
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := reader.Get(ctx, client.ObjectKey{Name: t.Configuration}, configuration); err != nil {
		return fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", t.Configuration, err)
	}
	var intermediates []*x509.Certificate
	for _, der := range served.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates = append(intermediates, c)
		}
	}
	return verify(configuration, served.Leaf, intermediates, t.Now())
}
