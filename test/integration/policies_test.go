//go:build integration

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

// TestPolicyIsValidated: the API server refuses a wrong policy and names the
// field.
func TestPolicyIsValidated(t *testing.T) {
	ns := namespace(t, nil)
	selector := func(field, content string) string { return fmt.Sprintf(`{%q:%s}`, field, content) }
	for _, tt := range []struct{ spec, field, message string }{
		{`{"action":"Explode"}`, "spec.action", "supported values"},
		{`{"workloads":"Audit"}`, "spec.workloads", "supported values"},
		{`{"onScanError":{"timeout":"Later"}}`, "spec.onScanError.timeout", "supported values"},
		{`{"architectures":["sparc"]}`, "spec.architectures[0]", "supported values"},
		{`{"architectures":["arm64","amd64","arm64"]}`, "spec.architectures[2]", "Duplicate value"},
		{`{"architectures":[]}`, "spec.architectures", "should have at least 1"},
		{`{"exemptions":[{"images":["**"]}]}`, "spec.exemptions[0].reason", "Required value"},
		{`{"exemptions":[{"images":["**"],"reason":"  "}]}`, "spec.exemptions[0].reason", "say why"},
		{`{"exemptions":[{"images":[],"reason":"r"}]}`, "spec.exemptions[0].images", "should have at least 1"},
		{`{"exemptions":[{"images":[""],"reason":"r"}]}`, "spec.exemptions[0].images[0]", "at least 1 char"},
		{`{"exemptions":[{"images":["**","**/b c"],"reason":"r"}]}`, "spec.exemptions[0].images[1]", "should match"},
		{`{"exemptions":[{"images":["**/a,b"],"reason":"r"}]}`, "spec.exemptions[0].images[0]", "should match"},
		{`{"exemptions":[{"images":["haproxy:3.0*"],"reason":"r"}]}`, "spec.exemptions[0].images[0]", "no image has such a name"},
		{`{"exemptions":[{"images":["docker.io/library/haproxy"],"reason":"r"}]}`, "spec.exemptions[0].images[0]", "should match"},
		{`{"exemptions":[{"images":["**"],"reason":"r","expires":"next week"}]}`, "spec.exemptions[0].expires", "date-time"},
		{selector("podSelector", `{"matchExpressions":[{"key":"a","operator":"Near"}]}`), "spec.podSelector.matchExpressions[0].operator",
			"supported values"},
		{selector("podSelector", `{"matchExpressions":[{"key":"a","operator":"In"}]}`), "spec.podSelector.matchExpressions[0]",
			"In and NotIn need values"},
		{selector("podSelector", `{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}`), "spec.podSelector.matchExpressions[0]",
			"Exists and DoesNotExist take none"},
		{selector("namespaceSelector", `{"matchExpressions":[{"key":"a","operator":"Near"}]}`),
			"spec.namespaceSelector.matchExpressions[0].operator", "supported values"},
		{selector("namespaceSelector", `{"matchExpressions":[{"key":"a b","operator":"Exists"}]}`),
			"spec.namespaceSelector.matchExpressions[0].key", "should match"},
		{selector("namespaceSelector", `{"matchExpressions":[{"key":"a","operator":"In","values":["b","c d"]}]}`),
			"spec.namespaceSelector.matchExpressions[0].values[1]", "should match"},
		{selector("namespaceSelector", `{"matchLabels":{"example.com/a/b":"c"}}`), "spec.namespaceSelector.matchLabels",
			"a label key is a name"},
		{selector("podSelector", `{"matchLabels":{"a b":"c"}}`), "spec.podSelector.matchLabels", "a label key is a name"},
		{selector("podSelector", `{"matchLabels":{"a":"not a value"}}`), "spec.podSelector.matchLabels.a", "should match"},
		{`{"nothing":1}`, `unknown field "spec.nothing"`, ""},
	} {
		kind := "CapsetPolicy"
		if strings.Contains(tt.spec, "namespaceSelector") {
			kind = "ClusterCapsetPolicy"
		}
		manifest := fmt.Sprintf(`{"apiVersion":"capvet.dev/v1alpha1","kind":%q,"metadata":{"name":"x","namespace":%q},"spec":%s}`, kind, ns,
			tt.spec)
		if kind == "ClusterCapsetPolicy" {
			manifest = strings.Replace(manifest, fmt.Sprintf(`,"namespace":%q`, ns), "", 1)
		}
		output, err := kubectl(t, manifest, "create", "-f", "-")
		if err == nil || !strings.Contains(output, tt.field) || !strings.Contains(output, tt.message) {
			t.Errorf("%s: %v: %s", tt.spec, err, output)
		}
	}
	sound := `{"apiVersion":"capvet.dev/v1alpha1","kind":"CapsetPolicy","metadata":{"name":"sound","namespace":"` + ns + `"},"spec":{
		"podSelector":{"matchLabels":{"app.kubernetes.io/name":"lb"},
			"matchExpressions":[{"key":"a","operator":"NotIn","values":["b"]},{"key":"c","operator":"Exists"}]},
		"exemptions":[{"images":["**/haproxy:3.0*"],"reason":"r","expires":"2027-03-31T00:00:00Z"}]}}`
	if output, err := kubectl(t, sound, "create", "-f", "-"); err != nil {
		t.Errorf("a sound policy: %v: %s", err, output)
	}
}

// TestPolicyStatus: a policy tells whether it is applied, and where.
func TestPolicyStatus(t *testing.T) {
	labels := map[string]string{"status": "test"}
	policy := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "test-status"}, Spec: v1alpha1.ClusterCapsetPolicySpec{
		NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"status": "test"}}}}
	if err := shared.Client.Create(ctx, policy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.Client.Delete(ctx, policy) })
	want := func(namespaces int32, reason string) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			if err := shared.Client.Get(ctx, client.ObjectKeyFromObject(policy), policy); err != nil {
				return err
			}
			ready := apimeta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Status != metav1.ConditionTrue || ready.Reason != reason || *policy.Status.MatchedNamespaces != namespaces ||
				policy.Status.ObservedGeneration != policy.Generation {
				return fmt.Errorf("status is %+v, want %d namespaces and %s", policy.Status, namespaces, reason)
			}
			return nil
		})
	}
	want(0, v1alpha1.ReasonNoNamespace)
	for i := range 2 {
		if err := shared.CreateNamespace(ctx, fmt.Sprintf("status-%d", i), labels); err != nil {
			t.Fatal(err)
		}
	}
	want(2, v1alpha1.ReasonApplied)
	if err := shared.Client.Patch(ctx, policy, client.RawPatch(types.MergePatchType,
		[]byte(`{"spec":{"exemptions":[{"images":["**"],"reason":"r","expires":"2020-01-01T00:00:00Z"}]}}`))); err != nil {
		t.Fatal(err)
	}
	want(2, v1alpha1.ReasonApplied)
	output, err := kubectl(t, "", "get", "ccp", "test-status", "-o", "wide")
	if err != nil {
		t.Fatal(output)
	}
	wantParts(t, output, "ACTION", "WORKLOADS", "ARCHITECTURES", "NAMESPACES", "READY", "True", "1 of 1 exemptions have expired")

	ns := namespace(t, warning())
	eventually(t, func(context.Context) error {
		output, err := kubectl(t, "", "get", "cp", "-n", ns)
		if err != nil || !strings.Contains(output, "True") {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	})
	// Faults beyond the API server's own checks are reported in the status, and in a
	// warning to the creator of a Pod.
	broken := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "broken", Namespace: ns}, Spec: v1alpha1.CapsetPolicySpec{
		PodSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{strings.Repeat("a", 254) + "/b": "c"}}}}
	if err := shared.Client.Create(ctx, broken); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		if err := shared.Client.Get(ctx, client.ObjectKeyFromObject(broken), broken); err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(broken.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionFalse || !strings.HasPrefix(ready.Message, "not applied: spec.podSelector: ") {
			return fmt.Errorf("status is %+v", broken.Status)
		}
		return nil
	})
	warnings, err := create(t, newPerson(t), ns, pod("fixed", shared.images.haproxy32))
	if err != nil {
		t.Error(err)
	}
	wantParts(t, strings.Join(warnings, "\n"), "CapsetPolicy/"+ns+"/broken is not applied", "spec.podSelector")
	// A policy's status is written once, not again and again.
	version := func() string {
		own := &v1alpha1.CapsetPolicy{}
		if err := shared.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "own"}, own); err != nil {
			t.Fatal(err)
		}
		return own.ResourceVersion
	}
	before := version()
	if err := shared.CreateNamespace(ctx, "status-2", labels); err != nil {
		t.Fatal(err)
	}
	want(3, v1alpha1.ReasonApplied) // statuses have been looked at meanwhile
	if after := version(); after != before {
		t.Errorf("the status of a policy that did not change was written again: %s, %s", before, after)
	}
}

// TestPolicyExplains: kubectl explain has words for every field.
func TestPolicyExplains(t *testing.T) {
	for field, words := range map[string][]string{
		"clustercapsetpolicy":                          {"strictest action wins"},
		"clustercapsetpolicy.spec.namespaceSelector":   {"selects namespaces by label"},
		"clustercapsetpolicy.spec.workloads":           {"Deployment", "ENUM: Ignore Warn Reject"},
		"capsetpolicy.spec.exemptions.images":          {"completes a Pod's reference with the default registry"},
		"capsetpolicy.spec.exemptions.expires":         {"2027-03-31T00:00:00Z"},
		"capsetpolicy.spec.onScanError.unauthorized":   {"rejected all of the Pod's credentials"},
		"clustercapsetpolicy.status.matchedNamespaces": {"number of namespaces"},
	} {
		output, err := kubectl(t, "", "explain", field)
		if err != nil {
			t.Errorf("%s: %s", field, output)
			continue
		}
		wantParts(t, strings.Join(strings.Fields(output), " "), words...)
	}
}

// TestModes: a namespace's label chooses among the presets of config/samples, and
// a label without effect causes a warning.
func TestModes(t *testing.T) {
	modes := shared.root + "/config/samples/capvet_v1alpha1_modes.yaml"
	if output, err := kubectl(t, "", "apply", "-f", modes); err != nil {
		t.Fatal(output)
	}
	defer func() {
		if output, err := kubectl(t, "", "delete", "-f", modes); err != nil {
			t.Error(output)
		}
		// The policies must be gone for the tests that follow.
		ns := "modes-after"
		if err := shared.CreateNamespace(ctx, ns, map[string]string{v1alpha1.LabelMode: "reject"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(ctx context.Context) error {
			_, err := newPerson(t).CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30),
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	}()
	warnsOfLabels(t)
	ns := namespace(t, nil)
	p := newPerson(t)
	label := func(mode string) string {
		t.Helper()
		p.warnings()
		_, err := p.CoreV1().Namespaces().Patch(ctx, ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"capvet.dev/mode":`+mode+`}}}`),
			metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(p.warnings(), "\n")
	}
	outcome := func() string {
		p.warnings()
		_, err := p.CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch warned := len(p.warnings()) > 0; {
		case denied(err):
			return "reject"
		case err != nil:
			return err.Error()
		case warned:
			return "warn"
		}
		return "silent"
	}
	for _, tt := range []struct{ mode, outcome, warning string }{
		{`"reject"`, "reject", ""},
		{`"audit"`, "silent", ""},
		{`"warn"`, "warn", ""},
		{`"off"`, "silent", ""},
		{`"rejct"`, "silent", "capvet.dev/mode=rejct does nothing: the modes are audit, warn, reject, off"},
		{`null`, "silent", ""},
	} {
		eventually(t, func(context.Context) error { // the presets are followed within moments
			label("null")
			if got := label(tt.mode); got != tt.warning {
				return fmt.Errorf("mode %s was answered %q, want %q", tt.mode, got, tt.warning)
			}
			return nil
		})
		eventually(t, func(context.Context) error {
			if got := outcome(); got != tt.outcome {
				return fmt.Errorf("mode %s: %s, want %s", tt.mode, got, tt.outcome)
			}
			return nil
		})
	}
	// Off holds where every policy of the cluster permits it.
	strict := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "test-strict"}, Spec: v1alpha1.ClusterCapsetPolicySpec{
		NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{
			"kubernetes.io/metadata.name": v1alpha1.LabelValue(ns)}}}}
	if err := shared.Client.Create(ctx, strict); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shared.Client.Delete(ctx, strict) }()
	eventually(t, func(context.Context) error {
		label("null")
		if got := label(`"off"`); !strings.Contains(got, "off is not permitted here: ClusterCapsetPolicy/test-strict") {
			return fmt.Errorf("mode off was answered %q", got)
		}
		return nil
	})
	if got := outcome(); got != "warn" {
		t.Errorf("off although it is not permitted: %s", got)
	}
}

// warnsOfLabels: a mistyped label causes a warning, both on a namespace's creation and on a later change.
func warnsOfLabels(t *testing.T) {
	t.Helper()
	for name, tt := range map[string]struct{ mode, warning string }{
		"modes-wrong": {"rejct", "Warning: capvet.dev/mode=rejct does nothing: the modes are audit, warn, reject, off"},
		"modes-case":  {"Reject", "Warning: capvet.dev/mode=Reject does nothing: the modes are audit, warn, reject, off"},
		"modes-off":   {"off", ""},
	} {
		output, err := kubectl(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q,"labels":{"capvet.dev/mode":%q}}}`,
			name, tt.mode), "create", "-f", "-")
		if want := strings.TrimPrefix(tt.warning+"\n", "\n") + "namespace/" + name + " created\n"; err != nil || output != want {
			t.Errorf("%s: %v: %q, want %q", name, err, output, want)
		}
	}
	ns := namespace(t, nil)
	for fail, warning := range map[string]string{
		"close": "Warning: capvet.dev/fail=close does nothing: the only value is closed\n", "closed": "",
	} {
		output, err := kubectl(t, "", "label", "--overwrite", "namespace", ns, "capvet.dev/fail="+fail)
		if want := warning + "namespace/" + ns + " labeled\n"; err != nil || output != want {
			t.Errorf("capvet.dev/fail=%s: %v: %q, want %q", fail, err, output, want)
		}
	}
}

// TestTrigger: when the calls run is judged by how this Pod runs the image.
func TestTrigger(t *testing.T) {
	spec := rejecting()
	spec.Trigger, spec.OnUnknown = v1alpha1.TriggerStart, v1alpha1.ActionWarn
	ns := namespace(t, spec)
	p := newPerson(t)
	id := func(i int64) *int64 { return &i }
	for _, tt := range []struct {
		name   string
		user   *int64
		args   []string
		denied bool
		text   string
	}{
		{"as-the-image-says", nil, nil, true, "makes this call at every start"},
		{"non-root", id(99), nil, true, "HAProxy runs as non-root here"},
		{"root", id(0), nil, false, ""},
		{"another-command", nil, []string{"sleep", "1"}, false, "it is unknown whether this Pod makes them"},
	} {
		lb := pod(tt.name, shared.images.haproxy30)
		lb.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: tt.user}
		lb.Spec.Containers[0].Command = tt.args
		warnings, err := create(t, p, ns, lb)
		text := strings.Join(warnings, "\n")
		if tt.denied != denied(err) || (err != nil && !tt.denied) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, tt.text) || (tt.text == "") != (text == "") {
			t.Errorf("%s: %q", tt.name, text)
		}
	}
}
