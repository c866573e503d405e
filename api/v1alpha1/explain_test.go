package v1alpha1_test

import (
	"os"
	"path/filepath"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestEveryFieldExplains: each field of the kinds has a description for kubectl explain.
func TestEveryFieldExplains(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	fields := 0
	var explained func(path string, s *apiextensionsv1.JSONSchemaProps)
	explained = func(path string, s *apiextensionsv1.JSONSchemaProps) {
		fields++
		if len(s.Description) < 15 && path != ".metadata" { // the API server's own
			t.Errorf("%s is described as %q", path, s.Description)
		}
		for name := range s.Properties {
			field := s.Properties[name]
			explained(path+"."+name, &field)
		}
		if s.Items != nil && s.Items.Schema != nil {
			for name := range s.Items.Schema.Properties {
				field := s.Items.Schema.Properties[name]
				explained(path+"[]."+name, &field)
			}
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatal(err)
		}
		explained("", crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
	if fields < 60 {
		t.Errorf("only %d fields were seen", fields)
	}
}
