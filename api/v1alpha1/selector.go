package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LabelSelector is metav1.LabelSelector with validation of keys and values. The
// API server validates selectors in its own kinds only, not in custom resources.
//
// +structType=atomic
type LabelSelector struct {
	// matchLabels are required labels with their values.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="a label key is a name, such as app, with an optional domain, such as example.com/app"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317)",message="a label key has at most 317 characters"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
	// matchExpressions are requirements on labels. All of them must hold. They
	// have at most 256 values together.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.map(r, has(r.values) ? size(r.values) : 0).sum() <= 256",message="the requirements have more than 256 values"
	// +listType=atomic
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue string

// LabelRequirement is a requirement on one label.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="In and NotIn need values, Exists and DoesNotExist take none"
type LabelRequirement struct {
	// key is the label key.
	//
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`
	Key string `json:"key"`
	// operator relates the label to the values. NotIn and DoesNotExist also match
	// objects without the label.
	//
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`
	// values are the operands of In and NotIn.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Values []LabelValue `json:"values,omitempty"`
}

// Selector converts s to the API machinery's type.
func (s *LabelSelector) Selector() *metav1.LabelSelector {
	same := &metav1.LabelSelector{MatchLabels: make(map[string]string, len(s.MatchLabels))}
	for key, value := range s.MatchLabels {
		same.MatchLabels[key] = string(value)
	}
	for _, r := range s.MatchExpressions {
		requirement := metav1.LabelSelectorRequirement{Key: r.Key, Operator: r.Operator}
		for _, value := range r.Values {
			requirement.Values = append(requirement.Values, string(value))
		}
		same.MatchExpressions = append(same.MatchExpressions, requirement)
	}
	return same
}
