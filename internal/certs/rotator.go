package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// DefaultLifetime of a certificate.
	DefaultLifetime = 90 * 24 * time.Hour
	// DefaultTrustDelay is how long a new certificate is in the caBundle before it
	// is served, for every API server to see it there.
	DefaultTrustDelay = 10 * time.Minute
	// checkInterval is how often the Secret is looked at. A change of the webhook
	// configuration is looked at when it happens.
	checkInterval = 30 * time.Second
	// pause is the least time between two looks, so that a quarrel with somebody
	// else over the caBundle costs little.
	pause = 100 * time.Millisecond
	// retryInterval is how soon what failed is tried again.
	retryInterval = time.Second
)

// Source has the certificate to serve; its GetCertificate is a tls.Config's.
type Source interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

var errNoCertificate = errors.New("there is no serving certificate yet")

// RotatorOptions are a Rotator's. All but the durations are required.
type RotatorOptions struct {
	// Secret is shared by all replicas. It must exist, and may be empty.
	Secret types.NamespacedName
	// Configuration is the name of the ValidatingWebhookConfiguration: the names
	// in it are what the certificate is for, and its caBundles are kept.
	Configuration string
	// Live reads from the API server itself: a cache can be half a minute behind
	// after the API server was away.
	Live client.Reader
	// Writer updates the Secret and patches the webhook configuration.
	Writer client.Writer
	// Lifetime of a certificate; zero: DefaultLifetime.
	Lifetime time.Duration
	// TrustDelay is how long a certificate is in the caBundle before it is served;
	// zero: DefaultTrustDelay.
	TrustDelay time.Duration
	// Now is the clock.
	Now func() time.Time
	Log logr.Logger
}

// Rotator makes the serving certificate, keeps it in a Secret, replaces it in
// time, and keeps the caBundle right. Each replica runs one, and they need no
// leader: the Secret's resourceVersion settles who writes.
type Rotator struct {
	options      RotatorOptions
	served       atomic.Pointer[tls.Certificate]
	changed      chan struct{}
	held         state
	trustedSince time.Time // when next was first seen to be trusted; zero: it is not
	trustedNext  string    // the certificate that trustedSince is about
}

var _ Source = (*Rotator)(nil)

// NewRotator returns a Rotator that does nothing until it is started.
func NewRotator(o RotatorOptions) *Rotator {
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.TrustDelay == 0 {
		o.TrustDelay = DefaultTrustDelay
	}
	return &Rotator{options: o, changed: make(chan struct{}, 1)}
}

// GetCertificate implements Source.
func (r *Rotator) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := r.served.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// Changed tells the Rotator to look at the webhook configuration again. It
// never blocks.
func (r *Rotator) Changed() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Start runs until ctx ends. It implements manager.Runnable.
func (r *Rotator) Start(ctx context.Context) error {
	interval := min(checkInterval, r.options.Lifetime/20, max(r.options.TrustDelay/2, retryInterval))
	for {
		wait := interval
		if err := r.reconcile(ctx); err != nil && ctx.Err() == nil {
			wait = min(interval, retryInterval)
			if apierrors.IsConflict(err) {
				r.options.Log.V(1).Info("another replica was first; looking again", "error", err.Error())
			} else {
				r.options.Log.Error(err, "cannot keep the serving certificate; trying again")
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.changed:
			timer.Stop()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		case <-timer.C:
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica
// runs its own.
func (r *Rotator) NeedLeaderElection() bool { return false }

// reconcile brings Secret, served certificate and caBundle to where they should
// be, once.
func (r *Rotator) reconcile(ctx context.Context) error {
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := r.options.Live.Get(ctx, client.ObjectKey{Name: r.options.Configuration}, configuration); err != nil {
		return fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", r.options.Configuration, err)
	}
	names, err := serverNames(configuration)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{}
	if err := r.options.Live.Get(ctx, r.options.Secret, secret); err != nil {
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("secret %s does not exist: create it, empty, as the chart and config/default do: %w", r.options.Secret, err)
		}
		return fmt.Errorf("reading Secret %s: %w", r.options.Secret, err)
	}
	now := r.options.Now()
	stored := decodeState(secret.Data)
	s, why, err := advance(stored, r.held, names, now, r.options.Lifetime, r.trustedLongEnough(stored.next, configuration, now))
	if err != nil {
		return err
	}
	if why != "" {
		secret.Data = maps.Clone(secret.Data)
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		delete(secret.Data, keyNextCertificate)
		delete(secret.Data, keyNextPrivateKey)
		maps.Copy(secret.Data, s.encode())
		if err := r.options.Writer.Update(ctx, secret, fieldOwner); err != nil {
			return fmt.Errorf("updating Secret %s: %w", r.options.Secret, err)
		}
		r.options.Log.Info("updated the shared certificate", "why", why, "names", names, "expires", s.current.certificate.NotAfter)
	}
	r.held = s
	r.served.Store(s.current.tls)
	repaired, err := repair(ctx, r.options.Writer, configuration, encodeBundle(s.bundle))
	if repaired {
		r.options.Log.Info("set the caBundle of the webhook configuration", "configuration", r.options.Configuration, "certificates", len(s.bundle))
	}
	return err
}

// trustedLongEnough reports whether the caBundles have held next for the trust
// delay without a break.
func (r *Rotator) trustedLongEnough(next *pair, c *admissionregistrationv1.ValidatingWebhookConfiguration, now time.Time) bool {
	if next == nil || verify(c, next.certificate, nil, now) != nil {
		r.trustedSince, r.trustedNext = time.Time{}, ""
		return false
	}
	if key := string(next.certPEM); r.trustedNext != key {
		r.trustedSince, r.trustedNext = now, key
	}
	return now.Sub(r.trustedSince) >= r.options.TrustDelay
}
