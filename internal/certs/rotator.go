package certs

import (
	"cmp"
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
	// DefaultTrustDelay is the time between the addition of a new certificate to the
	// caBundle and its first use, so that every API server sees it.
	DefaultTrustDelay = 10 * time.Minute
	// checkInterval is the interval of reads of the Secret. A change of the webhook
	// configuration triggers a read at once.
	checkInterval = 30 * time.Second
	// minInterval is the minimum time between two reads, so that a conflict with
	// another writer of the caBundle costs little.
	minInterval = 100 * time.Millisecond
	// retryInterval is the delay after an error.
	retryInterval = time.Second
)

// Source provides the serving certificate, as a tls.Config's GetCertificate.
type Source interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

var errNoCertificate = errors.New("there is no serving certificate yet")

// RotatorOptions configure a Rotator. All but the durations are required.
type RotatorOptions struct {
	// Secret is shared by all replicas. It must exist, and may be empty.
	Secret types.NamespacedName
	// Configuration is the name of the ValidatingWebhookConfiguration. The
	// certificate is made for the server names in it, and its caBundles are set.
	Configuration string
	// Live reads from the API server itself: after an outage of the API server a
	// cache can be half a minute behind.
	Live client.Reader
	// Writer updates the Secret and patches the webhook configuration.
	Writer client.Writer
	// Lifetime of a certificate; zero means DefaultLifetime.
	Lifetime time.Duration
	// TrustDelay is how long a certificate is in the caBundle before it is served;
	// zero means DefaultTrustDelay.
	TrustDelay time.Duration
	Now        func() time.Time
	Log        logr.Logger
}

// Rotator makes the serving certificate, stores it in a Secret, renews it, and sets
// the caBundle. Every replica runs one, without a leader: the resourceVersion of
// the Secret lets one of several concurrent writers succeed.
type Rotator struct {
	options      RotatorOptions
	served       atomic.Pointer[tls.Certificate]
	changed      chan struct{}
	last         state     // after the last reconciliation
	trustedSince time.Time // first observation that next is trusted; zero if it is not
	trustedNext  string    // the certificate of trustedSince
}

// NewRotator returns a Rotator, which Start runs.
func NewRotator(o RotatorOptions) *Rotator {
	o.Lifetime, o.TrustDelay = cmp.Or(o.Lifetime, DefaultLifetime), cmp.Or(o.TrustDelay, DefaultTrustDelay)
	return &Rotator{options: o, changed: make(chan struct{}, 1)}
}

// GetCertificate implements Source.
func (r *Rotator) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := r.served.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// Changed makes the Rotator read the webhook configuration again. It never blocks.
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
				r.options.Log.V(1).Info("another replica was first; reading again", "error", err.Error())
			} else {
				r.options.Log.Error(err, "cannot keep the serving certificate; trying again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(minInterval):
			}
		case <-time.After(wait):
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica
// runs its own.
func (r *Rotator) NeedLeaderElection() bool { return false }

// reconcile updates the Secret, the served certificate and the caBundle once.
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
			return fmt.Errorf("secret %s does not exist: create an empty one, as the chart and config/default do: %w", r.options.Secret, err)
		}
		return fmt.Errorf("reading Secret %s: %w", r.options.Secret, err)
	}
	now := r.options.Now()
	stored := decodeState(secret.Data)
	s, reason, err := advance(stored, r.last, names, now, r.options.Lifetime, r.trustedLongEnough(stored.next, configuration, now))
	if err != nil {
		return err
	}
	if reason != "" {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		delete(secret.Data, keyNextCertificate)
		delete(secret.Data, keyNextPrivateKey)
		maps.Copy(secret.Data, s.encode())
		if err := r.options.Writer.Update(ctx, secret, fieldOwner); err != nil {
			return fmt.Errorf("updating Secret %s: %w", r.options.Secret, err)
		}
		r.options.Log.Info("updated the shared certificate", "reason", reason, "names", names, "expires", s.current.certificate.NotAfter)
	}
	r.last = s
	r.served.Store(s.current.tls)
	repaired, err := repair(ctx, r.options.Writer, configuration, encodeBundle(s.bundle))
	if repaired {
		r.options.Log.Info("set the caBundle of the webhook configuration",
			"configuration", r.options.Configuration, "certificates", len(s.bundle))
	}
	return err
}

// trustedLongEnough reports whether the caBundles have held next without a break
// for the trust delay.
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
