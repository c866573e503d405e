package policyspec

import (
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
)

// annotationBroken holds the error in a spec that Strip removed.
const annotationBroken = "capvet.dev/broken"

// StripCluster removes from a policy of a cache all that Compile does not need, so that a
// policy takes little memory whatever it holds. A spec beyond its bounds is replaced with
// its error, which CompileCluster then returns.
func StripCluster(p *v1alpha1.ClusterCapsetPolicy) {
	err := checkBounds(&p.Spec.CapsetPolicySpec)
	if err == nil {
		err = checkSelector("spec.namespaceSelector", &p.Spec.NamespaceSelector)
	}
	strip(&p.ObjectMeta, err)
	if err != nil {
		p.Spec = v1alpha1.ClusterCapsetPolicySpec{}
	}
}

// StripNamespaced is StripCluster for a CapsetPolicy.
func StripNamespaced(p *v1alpha1.CapsetPolicy) {
	err := checkBounds(&p.Spec)
	strip(&p.ObjectMeta, err)
	if err != nil {
		p.Spec = v1alpha1.CapsetPolicySpec{}
	}
}

func strip(meta *metav1.ObjectMeta, broken error) {
	meta.ManagedFields, meta.Annotations, meta.Labels, meta.OwnerReferences = nil, nil, nil, nil
	if broken != nil {
		meta.Annotations = map[string]string{annotationBroken: broken.Error()}
	}
}

// stripped returns the error of a spec that Strip removed.
func stripped(meta *metav1.ObjectMeta) error {
	if broken := meta.Annotations[annotationBroken]; broken != "" {
		return errors.New(broken)
	}
	return nil
}
