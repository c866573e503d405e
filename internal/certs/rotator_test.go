package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const configurationName = "capvet"

var secretKey = types.NamespacedName{Namespace: "capvet-system", Name: "capvet-tls"}

func webhookConfiguration() *admissionregistrationv1.ValidatingWebhookConfiguration {
	service := admissionregistrationv1.WebhookClientConfig{
		Service: &admissionregistrationv1.ServiceReference{Name: "capvet", Namespace: "capvet-system"},
	}
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurationName},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			{Name: "pods.capvet.dev", ClientConfig: service},
			{Name: "strict.capvet.dev", ClientConfig: service},
		},
	}
}

func newCluster(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

// clock is a test's own.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newReplica(cluster client.Client, c *clock) *Rotator {
	return NewRotator(RotatorOptions{
		Secret: secretKey, Configuration: configurationName,
		Live: cluster, Writer: cluster,
		Lifetime: lifetime, Now: c.Now, Log: logr.Discard(),
	})
}

func emptySecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}}
}

func current(t *testing.T, cluster client.Client) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Name: configurationName}, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRotation runs three replicas in random order through a year. Each served
// certificate is accepted by every caBundle of the last trust delay, so that an
// API server that sees changes late accepts it too.
func TestRotation(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			cluster := newCluster(t, emptySecret(), webhookConfiguration())
			now := &clock{start}
			var replicas []*Rotator
			for range 3 {
				replicas = append(replicas, newReplica(cluster, now))
			}
			for _, r := range replicas {
				if err := r.reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			type view struct {
				at            time.Time
				configuration *admissionregistrationv1.ValidatingWebhookConfiguration
			}
			views := []view{{start, current(t, cluster)}}
			served := map[string]bool{}
			for now.now.Before(start.Add(365 * 24 * time.Hour)) {
				// Steps of hours, or of minutes during a rotation.
				step := time.Duration(random.IntN(300)) * time.Second
				secret := &corev1.Secret{}
				if err := cluster.Get(t.Context(), secretKey, secret); err != nil {
					t.Fatal(err)
				}
				if len(secret.Data[keyNextCertificate]) == 0 {
					step *= 300
				}
				now.now = now.now.Add(step)
				i := random.IntN(len(replicas))
				switch random.IntN(20) {
				case 0: // a replica is replaced by a new one
					replicas[i] = newReplica(cluster, now)
				}
				if err := replicas[i].reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
				views = append(views, view{now.now, current(t, cluster)})
				for len(views) > 1 && now.now.Sub(views[1].at) > DefaultTrustDelay {
					views = views[1:]
				}
				for _, r := range replicas {
					c, err := r.GetCertificate(nil)
					if err != nil {
						continue // has not run yet, and is not ready
					}
					served[c.Leaf.SerialNumber.String()] = true
					if !now.now.Before(c.Leaf.NotAfter) {
						continue // has not had its turn for a month
					}
					for _, v := range views {
						if err := verify(v.configuration, c.Leaf, nil, now.now); err != nil {
							t.Fatalf("%s: %v", now.now.Sub(start), err)
						}
					}
				}
			}
			if len(served) < 6 {
				t.Errorf("only %d certificates in a year: nothing rotates", len(served))
			}
		})
	}
}

func TestConfigurationIsRepaired(t *testing.T) {
	cluster := newCluster(t, emptySecret(), webhookConfiguration())
	now := &clock{start}
	r := newReplica(cluster, now)
	trust := &Trust{Served: r, Cached: cluster, Live: cluster, Configuration: configurationName, Now: now.Now}
	if err := trust.Check(t.Context()); !errors.Is(err, errNoCertificate) {
		t.Errorf("before the first certificate: %v", err)
	}
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := trust.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*admissionregistrationv1.ValidatingWebhook){
		"emptied": func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = nil },
		"another's": func(w *admissionregistrationv1.ValidatingWebhook) {
			w.ClientConfig.CABundle = mustPair(t, start, names...).certPEM
		},
		"junk":          func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = []byte("junk") },
		"other service": func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.Service.Name = "renamed" },
	} {
		t.Run(name, func(t *testing.T) {
			c := current(t, cluster)
			edit(&c.Webhooks[1])
			if err := cluster.Update(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			const refused = "webhook strict.capvet.dev of ValidatingWebhookConfiguration capvet"
			if err := trust.Check(t.Context()); err == nil || !strings.Contains(err.Error(), refused) {
				t.Errorf("ready: %v", err)
			}
			if err := r.reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := trust.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		if err := cluster.Delete(t.Context(), webhookConfiguration()); err != nil {
			t.Fatal(err)
		}
		if err := r.reconcile(t.Context()); !apierrors.IsNotFound(err) {
			t.Errorf("got %v", err)
		}
		if err := trust.Check(t.Context()); err != nil {
			t.Errorf("it was trusted, and nobody is turned away: %v", err)
		}
		fresh := &Trust{Served: r, Cached: cluster, Live: cluster, Configuration: configurationName, Now: now.Now}
		if err := fresh.Check(t.Context()); !apierrors.IsNotFound(err) {
			t.Errorf("never trusted: %v", err)
		}
	})
}

// TestTrustIsOfNow: a cache that has not caught up makes nobody unready, and no
// cache makes anybody ready whom the API server turns away.
func TestTrustIsOfNow(t *testing.T) {
	cluster, behind := newCluster(t, emptySecret(), webhookConfiguration()), newCluster(t, webhookConfiguration())
	now := &clock{start}
	r := newReplica(cluster, now)
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := &unreachable{Client: cluster}
	trust := &Trust{Served: r, Cached: behind, Live: server, Configuration: configurationName, Now: now.Now}
	if err := trust.Check(t.Context()); err != nil {
		t.Errorf("the cache is behind: %v", err)
	}
	server.away = true
	if err := trust.Check(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("nobody to ask: %v", err)
	}
	trust.Live = behind
	if err := trust.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no caBundle") {
		t.Errorf("not trusted: %v", err)
	}
}

// racing updates the Secret just before its own update.
type racing struct {
	client.Client
	first func()
}

func (r *racing) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	if r.first != nil {
		first := r.first
		r.first = nil
		first()
	}
	return r.Client.Update(ctx, o, options...)
}

// TestReplicasShare: of two that start at once one makes the certificate, and
// both serve it.
func TestReplicasShare(t *testing.T) {
	cluster := newCluster(t, emptySecret(), webhookConfiguration())
	now := &clock{start}
	fast := newReplica(cluster, now)
	slow := newReplica(cluster, now)
	slow.options.Writer = &racing{cluster, func() {
		if err := fast.reconcile(t.Context()); err != nil {
			t.Error(err)
		}
	}}
	if err := slow.reconcile(t.Context()); !apierrors.IsConflict(err) {
		t.Fatalf("got %v", err)
	}
	if _, err := slow.GetCertificate(nil); err == nil {
		t.Error("serves a certificate that it could not share")
	}
	if err := slow.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, _ := fast.GetCertificate(nil)
	b, _ := slow.GetCertificate(nil)
	if !a.Leaf.Equal(b.Leaf) {
		t.Error("two certificates")
	}
}

// unreachable is an API server that can be away.
type unreachable struct {
	client.Client
	away bool
}

var errAway = errors.New("connection refused")

func (u *unreachable) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if u.away {
		return errAway
	}
	return u.Client.Get(ctx, key, o, options...)
}

// TestExpiresWhileAPIServerIsAway: replicas that could not rotate in time serve
// what they have, say so, and agree on another certificate once they can.
func TestExpiresWhileAPIServerIsAway(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave time.Duration // when the API server goes
	}{{"before there is a next one", 24 * time.Hour}, {"before the next one is served", 61 * 24 * time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			cluster := newCluster(t, emptySecret(), webhookConfiguration())
			now := &clock{start}
			server := &unreachable{Client: cluster}
			replicas := []*Rotator{newReplica(cluster, now), newReplica(cluster, now)}
			for _, r := range replicas {
				r.options.Live = server
				if err := r.reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			old, _ := replicas[0].GetCertificate(nil)
			now.now = start.Add(tt.leave)
			if err := replicas[0].reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			server.away = true
			for now.now.Before(start.Add(lifetime + 24*time.Hour)) {
				now.now = now.now.Add(12 * time.Hour)
				for _, r := range replicas {
					if err := r.reconcile(t.Context()); !errors.Is(err, errAway) {
						t.Fatalf("got %v", err)
					}
					if c, err := r.GetCertificate(nil); err != nil || !c.Leaf.Equal(old.Leaf) {
						t.Fatalf("%v: another certificate is served, that nobody trusts", err)
					}
				}
			}
			trust := &Trust{Served: replicas[0], Cached: cluster, Live: cluster, Configuration: configurationName, Now: now.Now}
			if err := trust.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "expired") {
				t.Errorf("ready: %v", err)
			}
			server.away = false
			for _, r := range replicas {
				if err := r.reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var served []*x509.Certificate
			for _, r := range replicas {
				c, err := r.GetCertificate(nil)
				if err != nil {
					t.Fatal(err)
				}
				served = append(served, c.Leaf)
				trust := &Trust{Served: r, Cached: cluster, Live: cluster, Configuration: configurationName, Now: now.Now}
				if err := trust.Check(t.Context()); err != nil {
					t.Errorf("not ready again: %v", err)
				}
			}
			if served[0].Equal(old.Leaf) || !served[0].Equal(served[1]) {
				t.Error("not one new certificate for both")
			}
		})
	}
}

func TestSecretIsGone(t *testing.T) {
	cluster := newCluster(t, emptySecret(), webhookConfiguration())
	r := newReplica(cluster, &clock{start})
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Delete(t.Context(), emptySecret()); err != nil {
		t.Fatal(err)
	}
	if err := r.reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "create an empty one") {
		t.Errorf("got %v", err)
	}
	held, err := r.GetCertificate(nil)
	if err != nil {
		t.Fatalf("no longer serving: %v", err)
	}
	if err := cluster.Create(t.Context(), emptySecret()); err != nil {
		t.Fatal(err)
	}
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := cluster.Get(t.Context(), secretKey, secret); err != nil {
		t.Fatal(err)
	}
	if p := decodeState(secret.Data).current; p == nil || !p.certificate.Equal(held.Leaf) {
		t.Error("the certificate that was served has not been written back")
	}
}

// TestCertificateIsNoAuthority: nothing can be signed with what the caBundle
// trusts.
func TestCertificateIsNoAuthority(t *testing.T) {
	p := mustPair(t, start, names...)
	if p.certificate.IsCA || p.certificate.KeyUsage&x509.KeyUsageCertSign != 0 || !p.certificate.BasicConstraintsValid {
		t.Errorf("IsCA %t, key usage %b", p.certificate.IsCA, p.certificate.KeyUsage)
	}
}
