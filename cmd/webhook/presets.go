package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
)

// presets adds policies from a file to those of the cluster. An installation
// that brings policies cannot create them together with their kinds: the API
// server does not know those yet. So it hands them over in a file.
type presets struct {
	next       admission.PolicySource
	policies   []policy.Policy
	namespaces client.Reader // cached
	live       client.Reader // for a namespace too new for the cache
}

var _ admission.PolicySource = (*presets)(nil)

// maxPresetBytes bounds the file of presets; a ConfigMap can hold no more.
const maxPresetBytes = 1 << 20

// readPresets reads ClusterCapsetPolicies from a YAML file. The API server has
// not validated them, so a mistake in them ends the start.
func readPresets(path string) ([]policy.Policy, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading --preset-policies: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPresetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading --preset-policies: %w", err)
	}
	if len(content) > maxPresetBytes {
		return nil, fmt.Errorf("--preset-policies: %s has more than %d bytes", path, maxPresetBytes)
	}
	policies, err := parsePresets(content)
	if err != nil {
		return nil, fmt.Errorf("--preset-policies: %s: %w", path, err)
	}
	return policies, nil
}

func parsePresets(content []byte) ([]policy.Policy, error) {
	var policies []policy.Policy
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return policies, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		p, err := parsePreset(document)
		if err != nil {
			return nil, fmt.Errorf("policy %d: %w", len(policies)+1, err)
		}
		policies = append(policies, p)
	}
}

func parsePreset(document []byte) (policy.Policy, error) {
	var object v1alpha1.ClusterCapsetPolicy
	encoded, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return policy.Policy{}, err
	}
	if err := policyspec.Decode(encoded, &object); err != nil {
		return policy.Policy{}, err
	}
	if object.APIVersion != v1alpha1.GroupVersion.String() || object.Kind != "ClusterCapsetPolicy" || object.Name == "" {
		return policy.Policy{}, fmt.Errorf("it has to be a ClusterCapsetPolicy of %s with a name", v1alpha1.GroupVersion)
	}
	if err := policyspec.Validate(&object.Spec.CapsetPolicySpec); err != nil {
		return policy.Policy{}, fmt.Errorf("%s: %w", object.Name, err)
	}
	compiled, err := policyspec.CompileCluster(&object)
	if err != nil {
		return policy.Policy{}, fmt.Errorf("%s: %w", object.Name, err)
	}
	compiled.Name = "preset " + object.Name
	return compiled, nil
}

// Holding implements admission.PolicySource.
func (p *presets) Holding(ctx context.Context, namespace string) ([]policy.Policy, []string, error) {
	policies, broken, err := p.next.Holding(ctx, namespace)
	if err != nil {
		return nil, nil, err
	}
	object := &corev1.Namespace{}
	err = p.namespaces.Get(ctx, client.ObjectKey{Name: namespace}, object)
	if apierrors.IsNotFound(err) {
		err = p.live.Get(ctx, client.ObjectKey{Name: namespace}, object)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading namespace %q: %w", namespace, err)
	}
	policies = slices.Clip(policies) // others share them
	for i := range p.policies {
		if p.policies[i].MatchesNamespace(object.Labels) {
			policies = append(policies, p.policies[i])
		}
	}
	return policies, broken, nil
}
