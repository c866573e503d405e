//go:build chart

package chart

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

// rbacPatience is how long a missing right may take to show.
const rbacPatience = 20 * time.Second

// TestNoRightTooMany takes one verb on one resource away at a time: a webhook
// that starts then either is refused something, or does not judge.
func TestNoRightTooMany(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	r := newRelease(b, host)
	if err := shared.cluster.CreateNamespace(t.Context(), "rights", map[string]string{"capvet.dev/mode": "warn"}); err != nil {
		t.Fatal(err)
	}
	r.apply(t, "install")
	uninstallAfter(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "rights", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"registry.example.com":{"auth":"YTpi"}}}`},
	}
	if err := client.IgnoreAlreadyExists(shared.cluster.Client.Create(t.Context(), secret)); err != nil {
		t.Fatal(err)
	}

	started := 0
	works := func(t *testing.T, patience time.Duration) error {
		started++
		return worksFromScratch(t, b, image, fmt.Sprint("rights-", started), patience)
	}
	if err := works(t, 2*time.Second); err != nil {
		t.Fatalf("with all rights: %v", err)
	}
	clusterRole, role := &rbacv1.ClusterRole{}, &rbacv1.Role{}
	for object, key := range map[client.Object]client.ObjectKey{clusterRole: {Name: "capvet"},
		role: {Namespace: releaseNamespace, Name: "capvet"}} {
		if err := shared.cluster.Client.Get(t.Context(), key, object); err != nil {
			t.Fatal(err)
		}
	}
	taken := 0
	try := func(object client.Object, rules *[]rbacv1.PolicyRule) {
		all := rights(*rules)
		for i, right := range all {
			taken++
			t.Run(fmt.Sprintf("%T/%s/%s", object, right.Resources[0], right.Verbs[0]), func(t *testing.T) {
				set := func(ctx context.Context, changed []rbacv1.PolicyRule) {
					*rules = changed
					if err := shared.cluster.Client.Update(ctx, object); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second) // the authorizer follows
				}
				if right.Verbs[0] == "list" {
					// As to an API server that does not stream lists, which older ones do not.
					t.Setenv("KUBE_FEATURE_WatchListClient", "false")
				}
				set(t.Context(), slices.Delete(slices.Clone(all), i, i+1))
				defer set(context.Background(), all)
				err := works(t, rbacPatience)
				if err == nil {
					t.Errorf("the webhook works without this right")
				}
				t.Log(err)
			})
		}
	}
	try(clusterRole, &clusterRole.Rules)
	try(role, &role.Rules)
	fmt.Printf("chart: %d rights taken away, one verb on one resource at a time\n", taken)
	if taken < 15 {
		t.Errorf("only %d rights", taken)
	}
}

// worksFromScratch starts a webhook without a serving certificate, and with policies of that name, and returns the first task that
// it fails at: getting ready, or judging for as long as patience lasts.
func worksFromScratch(t *testing.T, b *balancer, image, name string, patience time.Duration) error {
	own := &corev1.Secret{}
	if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: releaseNamespace, Name: "capvet-tls"}, own); err != nil {
		t.Fatal(err)
	}
	own.Data = nil
	// New policies, whose status is still to be written.
	for _, policy := range []client.Object{
		&v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "rights", Name: name}},
	} {
		eventually(t, func(ctx context.Context) error { return shared.cluster.Client.Create(ctx, policy) })
		defer func() { _ = shared.cluster.Client.Delete(context.Background(), policy) }()
	}
	if err := shared.cluster.Client.Update(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	replica := startReplica(t, releaseNamespace, "capvet")
	defer replica.Kill()
	for deadline := time.Now().Add(rbacPatience); replica.ready(t.Context()) != nil; time.Sleep(100 * time.Millisecond) {
		if err := replica.refused(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready: %w", replica.ready(t.Context()))
		}
	}
	b.set(replica)
	defer b.set()
	// In a namespace that is not in the webhook's cache.
	if status, body, err := ask(t.Context(), replica.address, "unheard-of", image); err != nil || status != http.StatusOK {
		return fmt.Errorf("a new namespace: %d %q %w", status, body, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := errors.Join(replica.refused(), judged("rights", image)(t.Context()))
		if warnings, admitErr := admit(t.Context(), "rights", image, "pull"); admitErr != nil || !strings.Contains(warnings, legacyWarning) {
			err = errors.Join(err, fmt.Errorf("with a pull secret: %q %w", warnings, admitErr))
		}
		if err != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// refused returns the first request that the API server refused the replica for want of a right, by the replica's log.
func (r *replica) refused() error {
	log, err := os.ReadFile(r.Log)
	if err != nil {
		return err
	}
	if i := strings.Index(string(log), "forbidden"); i >= 0 {
		return errors.New(string(log[max(0, i-200):min(len(log), i+200)]))
	}
	return nil
}

// rights returns rules of one verb on one resource each.
func rights(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				all = append(all, rbacv1.PolicyRule{APIGroups: rule.APIGroups, Resources: []string{resource}, ResourceNames: rule.ResourceNames,
					Verbs: []string{verb}})
			}
		}
	}
	return all
}
