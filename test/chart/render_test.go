//go:build chart

package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/default.yaml anew")

func TestLint(t *testing.T) {
	for name, args := range variants(t) {
		if output, err := helm(t, nil, append([]string{"lint", "--strict", "--kube-version", kubeVersion, chartDir()}, args...)...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
	}
}

// TestGolden: the rendering of the defaults changes only together with the golden
// file.
func TestGolden(t *testing.T) {
	golden := filepath.Join("testdata", "default.yaml")
	got := render(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the defaults render otherwise; if that is meant, run go test -tags chart ./test/chart -update through make test-chart: %s",
			diff)
	}
}

// schemaObjects walks the schema's objects that are ours: all with properties.
func schemaObjects(schema map[string]any, path []string, visit func(path []string, schema map[string]any)) {
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return
	}
	visit(path, schema)
	for name, property := range properties {
		if p, ok := property.(map[string]any); ok {
			schemaObjects(p, append(path[:len(path):len(path)], name), visit)
		}
	}
}

// TestUnknownValuesAreRefused: at every level that is ours a misspelt key is an
// error, not silence.
func TestUnknownValuesAreRefused(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir(), "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var paths []string
	schemaObjects(schema, nil, func(path []string, s map[string]any) {
		if s["additionalProperties"] != false {
			t.Errorf("%s allows any key", strings.Join(path, "."))
		}
		paths = append(paths, strings.Join(append(path[:len(path):len(path)], "misspelt"), "."))
	})
	if len(paths) < 20 {
		t.Fatalf("only %d levels", len(paths))
	}
	for _, path := range paths {
		_, err := helm(t, nil, "template", chartDir(), "--kube-version", kubeVersion, "--set", path+"=1")
		if err == nil || !strings.Contains(err.Error(), "misspelt") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	for _, value := range []string{
		"certificates.mode=magic",
		"certificates.lifetime=soon",
		"certificates.caBundle=base64",
		"image.digest=latest",
		"image.repository=",
		"replicas=-1",
		"podDisruptionBudget.maxUnavailable=0",
		"webhook.timeoutSeconds=31",
		"presets.default=strict",
		"presets.onUnknown=warn",
		"presets.exemptions[0].images[0]=a",
		"registries.plainHTTP[0]=http://registry",
		"registries.denyAddresses[0]=10.0.0.0",
		"registries.allow[0]=https://example.com",
		"registries.hosts.a/b=c",
		"webhook.clients.caConfigMap=ca",
		"webhook.clients.names[0]=somebody",
		"limits.layers=1",
		"limits.max-layers=0",
		"log.level=loud",
		"extraArgs[0]=probe",
		"networkPolicy.egressPorts[0]=65536",
	} {
		if _, err := helm(t, nil, "template", chartDir(), "--kube-version", kubeVersion, "--set", value); err == nil ||
			!strings.Contains(err.Error(), "values don't meet the specifications of the schema") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestEveryLimitIsAValue: values can set each flag of the webhook.
func TestEveryLimitIsAValue(t *testing.T) {
	usage, _ := exec.CommandContext(t.Context(), shared.webhook, "--help").CombinedOutput()
	var set, want []string
	for _, match := range regexp.MustCompile(`(?m)^  -((?:max-|stall-)[a-z-]+|[a-z]+-time) (\w+)$`).FindAllStringSubmatch(string(usage), -1) {
		value := "7"
		if match[2] == "duration" {
			value = "7s"
		}
		set = append(set, "--set", "limits."+match[1]+"="+value)
		want = append(want, "- --"+match[1]+"="+value+"\n")
	}
	if len(want) < 20 {
		t.Fatalf("only %d limits in:\n%s", len(want), usage)
	}
	text := render(t, set...)
	for _, line := range want {
		if !strings.Contains(text, line) {
			t.Errorf("no %q", line)
		}
	}
}

// TestEqualsKustomize: config/default gives the same objects as the chart's
// defaults, but for the labels that are Helm's, the image, and the namespace,
// which helm does not create.
func TestEqualsKustomize(t *testing.T) {
	for name, args := range map[string][]string{"default": nil, "certmanager": {"--set", "certificates.mode=cert-manager"},
		"failclosed": {"--set", "webhook.failClosed.enabled=true"}} {
		t.Run(name, func(t *testing.T) {
			kustomized, err := kubectl(t, "", "kustomize", filepath.Join(shared.root, "config", name))
			if err != nil {
				t.Fatal(err)
			}
			want := byName(t, kustomized)
			delete(want, "Namespace/capvet-system")
			got := byName(t, render(t, append(args, "--skip-tests")...))
			for key, object := range got {
				if want[key] == nil {
					t.Errorf("%s is in the chart alone", key)
					continue
				}
				if diff := cmp.Diff(normal(t, want[key], name == "certmanager"), normal(t, object, name == "certmanager")); diff != "" {
					t.Errorf("%s (- config, + chart): %s", key, diff)
				}
			}
			for key := range want {
				if got[key] == nil {
					t.Errorf("%s is in config/%s alone", key, name)
				}
			}
		})
	}
}

// normal returns an object without the fields that may differ.
func normal(t *testing.T, object *unstructured.Unstructured, certManager bool) map[string]any {
	t.Helper()
	object = object.DeepCopy()
	var strip func(any)
	strip = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			for _, label := range []string{
				"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart",
				"helm.sh/resource-policy", "capvet.dev/presets",
			} {
				delete(v, label)
			}
			for _, inner := range v {
				strip(inner)
			}
		case []any:
			for _, inner := range v {
				strip(inner)
			}
		}
	}
	strip(object.Object)
	switch object.GetKind() {
	case "ClusterRole":
		object.SetLabels(nil)
		// The overlay for cert-manager leaves one right more than the chart does: a
		// patch by index would break in silence when a rule is added.
		rules, _, err := unstructured.NestedSlice(object.Object, "rules")
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			r := rule.(map[string]any)
			if verbs := r["verbs"].([]any); certManager && slices.Contains(r["resources"].([]any), any("validatingwebhookconfigurations")) {
				r["verbs"] = slices.DeleteFunc(verbs, func(verb any) bool { return verb == "patch" })
			}
		}
		if err := unstructured.SetNestedSlice(object.Object, rules, "rules"); err != nil {
			t.Fatal(err)
		}
	case "CustomResourceDefinition", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount":
		// Generated, or without labels of their own.
		object.SetLabels(nil)
	case "ValidatingWebhookConfiguration":
		object.SetLabels(nil)
	case "Deployment":
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		containers[0].(map[string]any)["image"] = "capvet"
		if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
	case "ConfigMap":
		// The same policies, however they are laid out.
		data, _, err := unstructured.NestedStringMap(object.Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		for key, text := range data {
			policies, err := readObjects(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			canonical, err := yaml.Marshal(policies)
			if err != nil {
				t.Fatal(err)
			}
			data[key] = string(canonical)
		}
		if err := unstructured.SetNestedStringMap(object.Object, data, "data"); err != nil {
			t.Fatal(err)
		}
	}
	return object.Object
}

// TestConfigMapsAreReadOnRequest: the flag and the right come together, and not by
// default.
func TestConfigMapsAreReadOnRequest(t *testing.T) {
	for value, want := range map[string]bool{"false": false, "true": true} {
		text := render(t, "--set", "configMaps.read="+value)
		role := fmt.Sprint(byName(t, text)["ClusterRole/capvet"])
		if strings.Contains(text, "--read-configmaps") != want || strings.Contains(role, "configmaps") != want {
			t.Errorf("configMaps.read=%s: flag %v, role %s", value, strings.Contains(text, "--read-configmaps"), role)
		}
	}
}

// TestNoHookJobsNoThirdParty: every container of the chart runs capvet's image.
func TestNoHookJobsNoThirdParty(t *testing.T) {
	image := regexp.MustCompile(`(?m)^\s*(?:- )?image: (\S+)`)
	for name, args := range variants(t) {
		text := render(t, args...)
		if strings.Contains(text, "kind: Job") {
			t.Errorf("%s has a Job", name)
		}
		images := image.FindAllStringSubmatch(text, -1)
		if len(images) != 2 { // the Deployment's and the test's
			t.Errorf("%s has %d images", name, len(images))
		}
		for _, match := range images {
			if !strings.Contains(match[1], "/capvet") {
				t.Errorf("%s runs %s", name, match[1])
			}
		}
	}
}
