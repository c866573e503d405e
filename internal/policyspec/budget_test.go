package policyspec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
)

// TestOverBudget: the newest policies exceed a namespace's budget, in whatever order they
// are seen; among those of one time, the last by name.
func TestOverBudget(t *testing.T) {
	created := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	share := func(name string, age time.Duration, size int) Share {
		p := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created.Add(-age))}}
		p.Spec.Exemptions = []v1alpha1.Exemption{{Reason: strings.Repeat("r", size)}}
		return ShareOf(name, p)
	}
	var small []Share
	for i := range maxNamespacePolicies + 2 {
		small = append(small, share(fmt.Sprintf("p%02d", i), 0, 1))
	}
	older := append(slices.Clone(small), share("z", time.Hour, 1))
	half := maxNamespaceBytes / 2
	for _, tt := range []struct {
		name   string
		shares []Share
		want   []string
	}{
		{"empty", nil, nil},
		{"as many as there may be", small[:maxNamespacePolicies], nil},
		{"two more", small, []string{"p32", "p33"}},
		{"an older one", older, []string{"p31", "p32", "p33"}},
		{"as large as they may be", []Share{share("a", 0, half), share("b", 0, half)}, nil},
		{"larger", []Share{share("a", 0, half+1), share("b", time.Hour, half)}, []string{"a"}},
		{"a small one after a large one", []Share{share("a", time.Hour, half), share("b", 0, half+1), share("c", 0, 0)}, []string{"b", "c"}},
	} {
		slices.Reverse(tt.shares)
		if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(OverBudget(tt.shares)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for name, want := range map[string]string{
		"a": "spec: with the namespace's older policies, selectors and exemptions have 65537 bytes, the limit is 65536; merge or delete policies",
		"b": "it is number 33 of the namespace's policies by age, the limit is 32; merge or delete policies",
	} {
		shares := []Share{share("a", 0, maxNamespaceBytes+1)}
		if name == "b" {
			shares = append(small[:0:0], share("b", 0, 1))
			for i := range maxNamespacePolicies {
				shares = append(shares, share(fmt.Sprint(i), time.Hour, 1))
			}
		}
		if err := OverBudget(shares)[name]; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestShareCountsAll: the share of a policy counts every text of its spec that is not of an
// enumeration.
func TestShareCountsAll(t *testing.T) {
	p := &v1alpha1.CapsetPolicy{}
	p.Spec.PodSelector = v1alpha1.LabelSelector{MatchLabels: labelled(1), MatchExpressions: requiring(2, 3)}
	p.Spec.Exemptions = exempting(2, 3, 50).Exemptions
	want := maxLabelKey + maxLabelValue + 2*(1+3) + 2*(1+3*(2+48*len("é")))
	if got := ShareOf("p", p).bytes; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// TestStrip: a policy beyond its bounds takes little memory, and stays broken with the same
// error. One within them stays as it is, without the metadata that capvet does not use.
func TestStrip(t *testing.T) {
	huge := exempting(1, 1, 1<<20)
	noise := metav1.ObjectMeta{Name: "p", Namespace: "shop", Generation: 3, UID: "u", Annotations: map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 1<<18), annotationBroken: "not really"},
		Labels: map[string]string{"a": strings.Repeat("x", 63)}, ManagedFields: make([]metav1.ManagedFieldsEntry, 1000)}
	size := func(object any) int {
		encoded, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return len(encoded)
	}
	own := &v1alpha1.CapsetPolicy{ObjectMeta: noise, Spec: huge}
	cluster := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: noise, Spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: huge}}
	selecting := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: noise}
	selecting.Spec.NamespaceSelector.MatchLabels = labelled(17)
	StripNamespaced(own)
	StripCluster(cluster)
	StripCluster(selecting)
	_, ownErr := CompileNamespaced(own)
	_, clusterErr := CompileCluster(cluster)
	_, selectingErr := CompileCluster(selecting)
	const want = "spec.exemptions[0].images[0]: 1048576 characters, the limit is 512"
	for got, want := range map[error]string{ownErr: want, clusterErr: want,
		selectingErr: "spec.namespaceSelector.matchLabels: 17 entries, the limit is 16"} {
		if got == nil || got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	for _, object := range []any{own, cluster, selecting} {
		if size(object) > 1<<10 {
			t.Errorf("%T takes %d bytes", object, size(object))
		}
	}
	sound := &v1alpha1.CapsetPolicy{ObjectMeta: noise, Spec: exempting(1, 1, 9)}
	StripNamespaced(sound)
	stays := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop", Generation: 3, UID: "u"},
		Spec: exempting(1, 1, 9)}
	if diff := cmp.Diff(stays, sound); diff != "" {
		t.Errorf("a sound policy (-want +got):\n%s", diff)
	}
	if _, err := CompileNamespaced(sound); err != nil {
		t.Error(err)
	}
}
