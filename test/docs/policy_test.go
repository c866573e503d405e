package docs

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/internal/report"
)

// TestPagesNameEveryClass: each class of scan errors has a row in the page on
// policies and in the runbook, and is in the README's example.
func TestPagesNameEveryClass(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, class := range report.FailureClasses() {
		for _, page := range []string{"docs/policy.md", "docs/runbooks/CapvetImagesUnreadable.md"} {
			if !strings.Contains(read(t, root, page), "\n| `"+string(class)+"` | ") {
				t.Errorf("%s has no row for the class %s", page, class)
			}
		}
		if !regexp.MustCompile(`\b` + string(class) + `\b`).MatchString(read(t, root, "README.md")) {
			t.Errorf("README.md does not name the class %s", class)
		}
	}
}

// TestPolicyPageNamesEveryField: each field of a policy's spec has a row in the
// page on policies, with its values, its default and the fields within it. A class
// of scan errors has a row of its own; labels and their selectors are Kubernetes' own.
func TestPolicyPageNamesEveryField(t *testing.T) {
	root := filepath.Join("..", "..")
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal([]byte(read(t, root, "config", "crd", "bases", "capvet.dev_clustercapsetpolicies.yaml")), &crd); err != nil {
		t.Fatal(err)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	if len(spec.Properties) < 10 {
		t.Fatalf("the spec has %d fields", len(spec.Properties))
	}
	page := read(t, root, "docs", "policy.md")
	for name := range spec.Properties {
		field := spec.Properties[name]
		_, row, found := strings.Cut(page, "\n| `"+name+"` | ")
		row, _, _ = strings.Cut(row, "\n")
		if !found {
			t.Errorf("docs/policy.md has no row for the field %s", name)
		}
		values, within := field.Enum, field.Properties
		if field.Items != nil {
			values, within = field.Items.Schema.Enum, field.Items.Schema.Properties
		}
		for part := range within {
			if !strings.HasSuffix(name, "Selector") && !strings.Contains(row, "`"+part+"`") && !strings.Contains(page, "\n| `"+part+"` | ") {
				t.Errorf("docs/policy.md does not name the field %s of %s", part, name)
			}
		}
		for _, value := range values {
			if value := strings.Trim(string(value.Raw), `"`); !strings.Contains(row, "`"+value+"`") && !strings.HasPrefix(row, "as `action`") {
				t.Errorf("docs/policy.md does not name the value %s of %s", value, name)
			}
		}
		if field.Type == "string" && !strings.Contains(row, "| `"+strings.Trim(string(field.Default.Raw), `"`)+"` |") {
			t.Errorf("docs/policy.md does not name the default of %s, %s", name, field.Default.Raw)
		}
	}
}
