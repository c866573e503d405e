//go:build chart

package chart

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// deleteNamed deletes a cluster-scoped object, also after the end of a test.
func deleteNamed(kind, name string) error {
	output, err := exec.Command(shared.kubectl, "--kubeconfig", shared.cluster.Kubeconfig, "delete", kind, name, "--wait=false",
		"--ignore-not-found").CombinedOutput()
	if err != nil {
		return fmt.Errorf("deleting %s %s: %w: %s", kind, name, err, output)
	}
	return nil
}

// clientsOf returns the clients of a new user with the rights of the rules.
func clientsOf(t *testing.T, user string, rules ...rbacv1.PolicyRule) kubernetes.Interface {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}}
	if err := shared.cluster.Client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	if err := shared.cluster.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(shared.cluster.Config)
	config.Impersonate.UserName = user
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

// TestLabelGuard: with the guard, only users with the right to change
// ClusterCapsetPolicies may change capvet's labels on a namespace. Other changes
// are unaffected.
func TestLabelGuard(t *testing.T) {
	guard := render(t, "--set", "labelGuard.enabled=true", "--show-only", "templates/labelguard.yaml")
	if _, err := kubectl(t, guard, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, kind := range []string{"validatingadmissionpolicy", "validatingadmissionpolicybinding"} {
			if err := deleteNamed(kind, "capvet-labels"); err != nil {
				t.Error(err)
			}
		}
	})
	namespaces := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces", "namespaces/status", "namespaces/finalize"},
		Verbs: []string{"create", "get", "patch", "update"}}
	owner := clientsOf(t, "guard-owner", namespaces)
	administrator := clientsOf(t, "guard-administrator", namespaces,
		rbacv1.PolicyRule{APIGroups: []string{"capvet.dev"}, Resources: []string{"clustercapsetpolicies"}, Verbs: []string{"update"}})

	create := func(c kubernetes.Interface, name string, labels map[string]string) error {
		_, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}},
			metav1.CreateOptions{})
		return err
	}
	label := func(c kubernetes.Interface, key, value string) error {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, key, value)
		_, err := c.CoreV1().Namespaces().Patch(t.Context(), "guarded", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	eventually(t, func(context.Context) error { // the API server takes a while to heed it, and the rights
		if err := create(owner, "guard-try", map[string]string{"capvet.dev/mode": "off"}); !apierrors.IsForbidden(err) {
			_ = deleteNamed("namespace", "guard-try")
			return fmt.Errorf("an owner's new namespace with a mode: %w", err)
		}
		return nil
	})
	for _, key := range []string{"capvet.dev/mode", "capvet.dev/fail"} {
		if err := create(owner, "guard-empty", map[string]string{key: ""}); !apierrors.IsForbidden(err) {
			t.Errorf("an owner's new namespace with an empty %s: %v", key, err)
		}
	}
	eventually(t, func(context.Context) error {
		err := create(administrator, "guarded", map[string]string{"capvet.dev/mode": "warn"})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	for _, tt := range []struct {
		name       string
		who        kubernetes.Interface
		key, value string
		refused    bool
	}{
		{"another label", owner, "team", `"a"`, false},
		{"the same mode", owner, "capvet.dev/mode", `"warn"`, false},
		{"another mode", owner, "capvet.dev/mode", `"off"`, true},
		{"an empty mode", owner, "capvet.dev/mode", `""`, true},
		{"an empty fail", owner, "capvet.dev/fail", `""`, true},
		{"no mode", owner, "capvet.dev/mode", "null", true},
		{"fail closed", owner, "capvet.dev/fail", `"closed"`, true},
		{"an administrator's", administrator, "capvet.dev/mode", `"off"`, false},
	} {
		if err := label(tt.who, tt.key, tt.value); apierrors.IsForbidden(err) != tt.refused || err != nil && !tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, tt := range []struct {
		who     kubernetes.Interface
		value   string
		refused bool
	}{
		{owner, "null", true}, {administrator, "null", false}, {owner, `""`, true}, {administrator, `""`, false}, {owner, "null", true}} {
		if err := label(tt.who, "capvet.dev/mode", tt.value); apierrors.IsForbidden(err) != tt.refused || err != nil && !tt.refused {
			t.Errorf("between absent and empty: %s: %v", tt.value, err)
		}
	}
	patch := []byte(`{"metadata":{"labels":{"capvet.dev/mode":"reject"}}}`)
	if _, err := owner.CoreV1().Namespaces().Patch(t.Context(), "guarded", types.MergePatchType, patch, metav1.PatchOptions{},
		"status"); !apierrors.IsForbidden(err) {
		t.Errorf("another mode by way of the status: %v", err)
	}
	guarded, err := owner.CoreV1().Namespaces().Get(t.Context(), "guarded", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.CoreV1().Namespaces().Finalize(t.Context(), guarded, metav1.UpdateOptions{}); err != nil {
		t.Errorf("finalizers alone: %v", err)
	}
	guarded.Labels["capvet.dev/mode"] = "reject"
	if _, err := owner.CoreV1().Namespaces().Finalize(t.Context(), guarded, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("another mode by way of the finalizers: %v", err)
	}
	if err := create(owner, "guard-plain", map[string]string{"team": "a"}); err != nil {
		t.Errorf("a namespace without capvet's labels: %v", err)
	}
}
