package main

import (
	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/policy"
)

// clusterPolicies are those of the cluster and those of the file of presets.
type clusterPolicies struct {
	index *admission.PolicyIndex
	fixed []policy.Policy
}

var _ admission.ClusterPolicySource = clusterPolicies{}

// InNamespace implements admission.ClusterPolicySource.
func (c clusterPolicies) InNamespace(namespace labels.Set) ([]policy.Policy, error) {
	matching, err := c.index.InNamespace(namespace)
	if err != nil {
		return nil, err
	}
	for i := range c.fixed {
		if c.fixed[i].MatchesNamespace(namespace) {
			matching = append(matching, c.fixed[i])
		}
	}
	return matching, nil
}
