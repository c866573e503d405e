//go:build integration

package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/capvet/capvet/api/v1alpha1"
)

// eventNote is the longest message that an Event holds, in characters.
const eventNote = 1024

// cronTime bounds the wait for the first Job of a CronJob that is due every minute.
const cronTime = 3 * time.Minute

// workloadManifests is one workload of each kind, as a person writes them, by its
// name.
func workloadManifests(image string) map[string]string {
	selected := func(kind, more string) string {
		name := strings.ToLower(kind)
		return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":%q,"metadata":{"name":%q},"spec":{%s"selector":{"matchLabels":{"of":%q}},
			"template":{"metadata":{"labels":{"of":%q}},"spec":{"containers":[{"name":"lb","image":%q}]}}}}`, kind, name, more, name, name, image)
	}
	job := fmt.Sprintf(`{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"lb","image":%q}]}}}`, image)
	return map[string]string{
		"deployment":  selected("Deployment", `"replicas":2,"strategy":{"type":"Recreate"},`),
		"replicaset":  selected("ReplicaSet", `"replicas":2,`),
		"statefulset": selected("StatefulSet", `"replicas":2,"podManagementPolicy":"Parallel",`),
		"daemonset":   selected("DaemonSet", ""),
		"job":         `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"job"},"spec":` + job + `}`,
		"replicationcontroller": fmt.Sprintf(`{"apiVersion":"v1","kind":"ReplicationController",
			"metadata":{"name":"replicationcontroller"},"spec":{"replicas":2,"selector":{"of":"rc"},
			"template":{"metadata":{"labels":{"of":"rc"}},"spec":{"containers":[{"name":"lb","image":%q}]}}}}`, image),
		"cronjob": `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"cronjob"},
			"spec":{"schedule":"* * * * *","concurrencyPolicy":"Forbid","jobTemplate":{"spec":` + job + `}}}`,
	}
}

// TestControllers: Pods come from the real controllers. Applying a workload shows
// a warning. The controllers' Pods get the policy's action, and the workload's
// events contain the reason of a refusal.
func TestControllers(t *testing.T) {
	p := newPerson(t)
	warned, rejected := "", ""
	t.Run("warn", func(t *testing.T) { warned = namespace(t, warning()) })
	t.Run("reject", func(t *testing.T) { rejected = namespace(t, rejecting()) })
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "arm", Labels: map[string]string{"kubernetes.io/arch": "arm64"}}}
	node, err := p.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Spec.Taints = nil // not-ready, which a kubelet would have removed
	if _, err := p.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	controllers, err := shared.StartControllers(filepath.Join(shared.controllers, "kube-controller-manager"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := controllers.Stop(); err != nil {
			t.Error(err)
		}
	})

	kinds := []string{"cronjob", "deployment", "replicaset", "statefulset", "daemonset", "job", "replicationcontroller"}
	manifests := workloadManifests(shared.images.haproxy30)
	for _, kind := range kinds {
		output, err := kubectl(t, manifests[kind], "apply", "-n", warned, "-f", "-")
		if err != nil {
			t.Fatal(output)
		}
		wantParts(t, output, `Warning: container "lb"`, "makes legacy 32-bit (v1) capability calls", "/"+kind+" created")
		output, err = kubectl(t, manifests[kind], "apply", "-n", rejected, "-f", "-")
		if err != nil {
			t.Fatal(output)
		}
		wantParts(t, output, "Warning: Pods of this template will be rejected by CapsetPolicy/", "/"+kind+" created")
	}

	await := func(what string, try func(context.Context) error) {
		t.Helper()
		var last error
		if err := wait.PollUntilContextTimeout(t.Context(), time.Second, cronTime, true, func(ctx context.Context) (bool, error) {
			last = try(ctx)
			return last == nil, nil
		}); err != nil {
			t.Fatalf("%s: %v: %v", what, err, last)
		}
	}
	await("the Pods of the workloads that are warned of", func(ctx context.Context) error { return podsExist(ctx, p, warned, kinds) })
	await("the events of the workloads whose Pods are refused",
		func(ctx context.Context) error { return eventsName(ctx, t, p, rejected, kinds) })
	pods, err := p.CoreV1().Pods(rejected).List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("%d Pods where all are refused: %v", len(pods.Items), err)
	}

	// A fixed version is admitted where the legacy one was refused.
	if output, err := kubectl(t, "", "set", "image", "-n", rejected, "deployment/deployment", "lb="+shared.images.haproxy32); err != nil ||
		strings.Contains(output, "Warning") {
		t.Errorf("setting the fixed image: %v: %s", err, output)
	}
	running := func(ns string, n int) func(context.Context) error {
		return func(ctx context.Context) error {
			pods, err := p.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "of=deployment"})
			if err == nil && len(pods.Items) != n {
				err = fmt.Errorf("%d Pods, want %d", len(pods.Items), n)
			}
			return err
		}
	}
	await("the fixed version's Pods", running(rejected, 2))

	// Scaling passes without a warning, up and down, under each policy.
	for _, ns := range []string{warned, rejected} {
		for _, workload := range []string{"deployment/deployment", "replicaset/replicaset", "statefulset/statefulset"} {
			for _, replicas := range []string{"0", "3"} {
				if output, err := kubectl(t, "", "scale", "-n", ns, workload, "--replicas="+replicas); err != nil ||
					strings.Contains(output, "Warning") {
					t.Errorf("scaling %s in %s: %v: %s", workload, ns, err, output)
				}
			}
		}
	}
	await("the fixed version's Pods after scaling", running(rejected, 3))
	await("the legacy version's Pods after scaling", running(warned, 3))
	scaleThroughReject(t, p, warned)
	ownersHavePolicies(t, warned)
}

// podsExist returns an error until the workloads of a namespace have their Pods: two for each with replicas, one for the others.
func podsExist(ctx context.Context, p *person, ns string, kinds []string) error {
	wanted := map[string]int{"deployment": 2, "replicaset": 2, "statefulset": 2, "daemonset": 1, "job": 1, "cronjob": 1,
		"replicationcontroller": 2}
	pods, err := p.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	got := map[string]int{}
	for _, pod := range pods.Items {
		for _, kind := range kinds {
			if strings.HasPrefix(pod.Name, kind+"-") {
				got[kind]++
			}
		}
	}
	for kind, n := range wanted {
		if got[kind] < n { // a CronJob may be due twice
			return fmt.Errorf("%v, want %v", got, wanted)
		}
	}
	return nil
}

// eventsName returns an error until an event about each kind's workload in a namespace names the refusal of its Pods.
func eventsName(ctx context.Context, t *testing.T, p *person, ns string, kinds []string) error {
	events, err := p.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, event := range events.Items {
		for _, kind := range kinds {
			if !strings.HasPrefix(event.InvolvedObject.Name, kind) || !strings.Contains(event.Message, `"pods.capvet.dev" denied the request`) {
				continue
			}
			told[kind] = true
			wantParts(t, event.Message, "makes legacy 32-bit (v1) capability calls", "CapsetPolicy/")
			if len([]rune(event.Message)) > eventNote {
				t.Errorf("%s: the event's message has %d characters", kind, len([]rune(event.Message)))
			}
		}
	}
	if len(told) < len(kinds) {
		return fmt.Errorf("of %v", told)
	}
	return nil
}

// ownersHavePolicies: users with the role view or edit in a namespace have the
// same access to its CapsetPolicies, and no access to others.
func ownersHavePolicies(t *testing.T, ns string) {
	t.Helper()
	for _, role := range []string{"view", "edit"} {
		if output, err := kubectl(t, "", "create", "rolebinding", role, "-n", ns, "--clusterrole="+role, "--user="+role+"-only"); err != nil {
			t.Fatal(output)
		}
	}
	for _, tt := range []struct {
		user, verb, resource, namespace, want string
	}{
		{"view-only", "list", "capsetpolicies", ns, "yes"},
		{"view-only", "create", "capsetpolicies", ns, "no"},
		{"edit-only", "watch", "capsetpolicies", ns, "yes"},
		{"edit-only", "create", "capsetpolicies", ns, "yes"},
		{"edit-only", "create", "capsetpolicies", "default", "no"},
		{"edit-only", "update", "clustercapsetpolicies", "", "no"},
	} {
		eventually(t, func(context.Context) error { // the roles are taken in by a controller
			output, _ := kubectl(t, "", "auth", "can-i", tt.verb, strings.Replace(tt.resource, "policies", "policies.capvet.dev", 1), "-n",
				tt.namespace, "--as", tt.user)
			if !strings.HasPrefix(lastLine(output), tt.want) {
				return fmt.Errorf("%s may %s %s in %q: %s", tt.user, tt.verb, tt.resource, tt.namespace, output)
			}
			return nil
		})
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// scaleThroughReject tightens a namespace's policy under a running Deployment: its
// Pods stay, scaling it passes, and only the additional Pods are refused.
func scaleThroughReject(t *testing.T, p *person, ns string) {
	t.Helper()
	policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "tightened", Namespace: ns}, Spec: *rejecting()}
	if err := shared.Client.Create(ctx, policy); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		_, err := p.CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !denied(err) {
			return fmt.Errorf("the tightened policy does not show yet: %w", err)
		}
		return nil
	})
	if output, err := kubectl(t, "", "scale", "-n", ns, "deployment/deployment", "--replicas=5"); err != nil ||
		strings.Contains(output, "Warning") {
		t.Errorf("scaling: %v: %s", err, output)
	}
	eventually(t, func(ctx context.Context) error {
		sets, err := p.AppsV1().ReplicaSets(ns).List(ctx, metav1.ListOptions{LabelSelector: "of=deployment"})
		if err != nil {
			return err
		}
		for _, set := range sets.Items {
			for _, condition := range set.Status.Conditions {
				if condition.Type == appsv1.ReplicaSetReplicaFailure && strings.Contains(condition.Message, "denied the request") {
					if set.Status.Replicas != 3 {
						return fmt.Errorf("%d Pods are there, want the 3 from before", set.Status.Replicas)
					}
					return nil
				}
			}
		}
		return fmt.Errorf("no ReplicaSet tells of a refused Pod yet")
	})
}
