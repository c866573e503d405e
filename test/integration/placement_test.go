//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/test/harness"
)

// TestNodes: which Pods are judged follows the cluster's nodes as they come and
// go, and their taints.
func TestNodes(t *testing.T) {
	ns := namespace(t, rejecting())
	p := newPerson(t)
	nodes := p.CoreV1().Nodes()
	add := func(name, arch string, taints ...corev1.Taint) {
		t.Helper()
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/arch": arch}},
			Spec: corev1.NodeSpec{Taints: taints}}
		if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// Once the nodes are gone every architecture is possible again.
	defer func() {
		if err := nodes.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
		eventually(t, func(ctx context.Context) error {
			_, err := p.CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30),
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if !denied(err) {
				return fmt.Errorf("the nodes that are gone still count: %w", err)
			}
			return nil
		})
	}()
	judged := func(set func(*corev1.PodSpec)) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			probe := pod("probe", shared.images.haproxy30)
			set(&probe.Spec)
			_, err := p.CoreV1().Pods(ns).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil && !denied(err) {
				return false, err
			}
			return err != nil, nil
		}
	}
	want := func(what string, want bool, judged func(context.Context) (bool, error)) {
		t.Helper()
		eventually(t, func(ctx context.Context) error { // the webhook follows within moments
			if got, err := judged(ctx); err != nil || got != want {
				return fmt.Errorf("%s: judged for arm64 is %v: %w", what, got, err)
			}
			return nil
		})
	}
	open := judged(func(*corev1.PodSpec) {})
	tolerant := judged(func(s *corev1.PodSpec) {
		s.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}
	})
	want("no nodes", true, open)
	add("amd-1", "amd64")
	want("an amd64 node alone", false, open)
	add("arm-1", "arm64", corev1.Taint{Key: "dedicated", Value: "lb", Effect: corev1.TaintEffectNoSchedule})
	want("a tainted arm64 node", true, tolerant)
	want("a tainted arm64 node that is not tolerated", false, open)
	pinned := func(name string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
					{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}}}}}}
		}
	}
	want("pinned to the arm64 node", true, judged(pinned("arm-1")))
	want("pinned to the amd64 node", false, judged(pinned("amd-1")))
	want("bound to the arm64 node", true, judged(func(s *corev1.PodSpec) { s.NodeName = "arm-1" }))
	want("bound to the amd64 node", false, judged(func(s *corev1.PodSpec) { s.NodeName = "amd-1" }))

	daemons := func(name string, tolerations ...corev1.Toleration) string {
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "lb"}}, Template: templateOf(shared.images.haproxy30)}}
		set.Spec.Template.Spec.Tolerations = tolerations
		p.warnings()
		if _, err := p.AppsV1().DaemonSets(ns).Create(ctx, set, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(p.warnings(), "\n")
	}
	if text := daemons("intolerant"); text != "" {
		t.Errorf("a DaemonSet that stays off arm64: %s", text)
	}
	wantParts(t, daemons("tolerant", corev1.Toleration{Operator: corev1.TolerationOpExists}), "Pods of this template will be rejected",
		"calls on arm64")
}

// TestPoolScaledToZero: with --architecture a Pod is judged for nodes that are not
// there yet, as long as its spec allows them.
func TestPoolScaledToZero(t *testing.T) {
	ns := namespace(t, rejecting())
	p := newPerson(t)
	only := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "amd-only", Labels: map[string]string{"kubernetes.io/arch": "amd64"}}}
	if _, err := p.CoreV1().Nodes().Create(ctx, only, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.CoreV1().Nodes().Delete(ctx, only.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	judged := func(selector map[string]string) func(context.Context) error {
		return func(ctx context.Context) error {
			lb := pod("lb", shared.images.haproxy30)
			lb.Spec.NodeSelector = selector
			_, err := p.CoreV1().Pods(ns).Create(ctx, lb, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
	}
	eventually(t, judged(nil)) // arm64 is ruled out once the node is known
	w, err := shared.StartWebhook(t.Context(), shared.root,
		harness.WebhookOptions{Binary: shared.binary, Args: append(shared.webhookArgs(), "--architecture=arm64")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(shared.Repoint(context.Background(), shared.root, shared.webhook), w.Stop()); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, func(ctx context.Context) error { // the API server turns to the other webhook
		if err := judged(nil)(ctx); !denied(err) {
			return fmt.Errorf("a Pod that can land anywhere: %w", err)
		}
		return nil
	})
	if err := judged(map[string]string{"kubernetes.io/arch": "arm64"})(ctx); !denied(err) {
		t.Errorf("a Pod for the pool: %v", err)
	}
	if err := judged(map[string]string{"kubernetes.io/arch": "amd64"})(ctx); err != nil {
		t.Errorf("a Pod for the node that is there: %v", err)
	}
}
