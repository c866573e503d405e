package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/manifest"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// checkInput holds the contents of check's files and flags.
type checkInput struct {
	objects    []manifest.Object
	passedOver []manifest.Object // policies among them, which do not apply
	policies   []policy.Policy
	namespace  string
	namespaces map[string]labels.Set
	configMaps map[types.NamespacedName]map[string]string
}

func readCheckInput(stdin io.Reader, o checkOptions) (checkInput, error) {
	input := checkInput{namespace: o.namespace, namespaces: map[string]labels.Set{}, configMaps: map[types.NamespacedName]map[string]string{}}
	for _, file := range o.policies {
		objects, err := readManifest(stdin, file)
		if err != nil {
			return input, err
		}
		for _, object := range objects {
			p, err := compilePolicy(object, o.namespace)
			if err != nil {
				return input, fmt.Errorf("%s:%d: %s %s: %w", object.File, object.Line, object.Kind, object.Metadata.Name, err)
			}
			input.policies = append(input.policies, p)
		}
	}
	if len(input.policies) == 0 {
		return input, fmt.Errorf("no policies in %s", strings.Join(o.policies, ", "))
	}
	for _, file := range o.files {
		objects, err := readManifest(stdin, file)
		if err != nil {
			return input, err
		}
		for _, object := range objects {
			switch {
			case object.Group() == v1alpha1.GroupVersion.Group && !slices.Contains(o.policies, file):
				input.passedOver = append(input.passedOver, object)
			case object.Group() != "":
			case object.Kind == "Namespace":
				input.namespaces[object.Metadata.Name] = object.Metadata.Labels
			case object.Kind == "ConfigMap":
				var configMap corev1.ConfigMap
				if err := json.Unmarshal(object.JSON, &configMap); err != nil {
					return input, fmt.Errorf("%s:%d: ConfigMap %s: %w", object.File, object.Line, object.Metadata.Name, err)
				}
				input.configMaps[types.NamespacedName{Namespace: input.namespaceOf(object), Name: configMap.Name}] = configMap.Data
			}
		}
		input.objects = append(input.objects, objects...)
	}
	for _, given := range o.namespaceLabels {
		name, list, ok := strings.Cut(given, ":")
		set, err := labels.ConvertSelectorToLabelsMap(list)
		if !ok || name == "" || err != nil {
			return input, fmt.Errorf("--namespace-labels %q: give NAME:KEY=VALUE,..., such as shop:capvet.dev/mode=reject", given)
		}
		input.namespaces[name] = labels.Merge(input.namespaces[name], set)
	}
	return input, nil
}

func readManifest(stdin io.Reader, file string) ([]manifest.Object, error) {
	if file == "-" {
		return manifest.Read("stdin", stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err // names the path
	}
	defer f.Close()
	return manifest.Read(file, f)
}

// compilePolicy compiles an object of a file of policies.
func compilePolicy(object manifest.Object, namespace string) (policy.Policy, error) {
	if object.APIVersion == v1alpha1.GroupVersion.String() {
		if object.Metadata.Name == "" {
			return policy.Policy{}, errors.New("metadata.name: give it a name")
		}
		switch object.Kind {
		case "ClusterCapsetPolicy":
			var p v1alpha1.ClusterCapsetPolicy
			if err := cmp.Or(policyspec.Decode(object.JSON, &p), policyspec.Validate(&p.Spec.CapsetPolicySpec)); err != nil {
				return policy.Policy{}, err
			}
			return policyspec.CompileCluster(&p)
		case "CapsetPolicy":
			var p v1alpha1.CapsetPolicy
			if err := cmp.Or(policyspec.Decode(object.JSON, &p), policyspec.Validate(&p.Spec)); err != nil {
				return policy.Policy{}, err
			}
			p.Namespace = cmp.Or(p.Namespace, namespace)
			return policyspec.CompileNamespaced(&p)
		}
	}
	return policy.Policy{}, fmt.Errorf("a file of policies holds only ClusterCapsetPolicies and CapsetPolicies of %s", v1alpha1.GroupVersion)
}

// namespaceOf returns the namespace of an object.
func (i checkInput) namespaceOf(object manifest.Object) string {
	return cmp.Or(object.Metadata.Namespace, i.namespace)
}

// settings reads a configuration file of a ConfigMap; false if the manifests do not have it.
func (i checkInput) settings(namespace, configMap, key string) (report.Settings, bool) {
	text, ok := i.configMaps[types.NamespacedName{Namespace: namespace, Name: configMap}][key]
	if !ok {
		return report.Settings{}, false
	}
	return product.Settings([]byte(text))
}

// labelsOf returns the labels of a namespace, with the API server's own.
func (i checkInput) labelsOf(namespace string) labels.Set {
	return labels.Merge(i.namespaces[namespace], labels.Set{policy.LabelMetadataName: namespace})
}
