package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
)

// maxPresetBytes bounds the file of presets. It is the limit of a ConfigMap.
const maxPresetBytes = 1 << 20

// readPresets reads ClusterCapsetPolicies from a YAML file. An installation cannot
// create policies together with their CRDs, so it brings its presets in a file. The
// API server has not validated them: an invalid one ends the start. An empty path
// means no presets.
func readPresets(path string) ([]policy.Policy, error) {
	if path == "" {
		return nil, nil
	}
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
	if err == nil {
		err = policyspec.Decode(encoded, &object)
	}
	if err != nil {
		return policy.Policy{}, err
	}
	if object.APIVersion != v1alpha1.GroupVersion.String() || object.Kind != "ClusterCapsetPolicy" || object.Name == "" {
		return policy.Policy{}, fmt.Errorf("give a ClusterCapsetPolicy of %s with a name", v1alpha1.GroupVersion)
	}
	compiled, err := policyspec.CompileCluster(&object)
	if err := cmp.Or(policyspec.Validate(&object.Spec.CapsetPolicySpec), err); err != nil {
		return policy.Policy{}, fmt.Errorf("%s: %w", object.Name, err)
	}
	compiled.Name = "preset " + object.Name
	return compiled, nil
}
