package policyspec_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/report"
)

// specSchema returns the schema of the spec of ClusterCapsetPolicy.
func specSchema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/bases/capvet.dev_clustercapsetpolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// leaf is one value of a schema, with the path to it: names of fields, and "[]" for an item.
type leaf struct {
	path   []string
	schema apiextensionsv1.JSONSchemaProps
}

func (l leaf) String() string { return strings.Join(l.path, ".") }

// leaves returns every value within a schema, those of lists and objects included.
func leaves(path []string, s apiextensionsv1.JSONSchemaProps) []leaf {
	all := []leaf{{path, s}}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, leaves(append(slices.Clone(path), name), s.Properties[name])...)
	}
	if s.Items != nil {
		all = append(all, leaves(append(slices.Clone(path), "[]"), *s.Items.Schema)...)
	}
	return all
}

// valid is a spec with a value for every list, so that each part of it can be replaced.
const valid = `{"exemptions":[{"images":["registry.example.com/vendor/*"],"reason":"r"}],"architectures":["arm64"],
	"podSelector":{"matchExpressions":[{"key":"a","operator":"Exists"}]},
	"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}`

// with returns a policy with a spec in which the value at a path is replaced.
func with(t *testing.T, spec string, path []string, value any) []byte {
	t.Helper()
	var decoded any
	if err := json.Unmarshal([]byte(spec), &decoded); err != nil {
		t.Fatal(err)
	}
	var put func(at any, path []string) any
	put = func(at any, path []string) any {
		if len(path) == 0 {
			return value
		}
		if path[0] == "[]" {
			list, _ := at.([]any)
			if len(list) == 0 {
				list = []any{nil}
			}
			list[0] = put(list[0], path[1:])
			return list
		}
		object, _ := at.(map[string]any)
		if object == nil {
			object = map[string]any{}
		}
		object[path[0]] = put(object[path[0]], path[1:])
		return object
	}
	encoded, err := json.Marshal(map[string]any{"spec": put(decoded, path)})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// check decodes, validates and compiles a policy.
func check(object []byte) (policy.Policy, error) {
	var p v1alpha1.ClusterCapsetPolicy
	err := policyspec.Decode(object, &p)
	if err == nil {
		err = policyspec.Validate(&p.Spec.CapsetPolicySpec)
	}
	if err != nil {
		return policy.Policy{}, err
	}
	return policyspec.CompileCluster(&p)
}

// TestEveryFieldIsBounded: each text, list and map of the schema has a bound.
func TestEveryFieldIsBounded(t *testing.T) {
	for _, l := range leaves(nil, specSchema(t)) {
		s := l.schema
		switch {
		case s.Type == "array" && s.MaxItems == nil, s.AdditionalProperties != nil && s.MaxProperties == nil,
			s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0 && s.Format != "date-time":
			t.Errorf("%s has no bound", l)
		}
		if a := s.AdditionalProperties; a != nil && (a.Schema.MaxLength == nil || len(s.XValidations) == 0) {
			t.Errorf("%s has no bound of its keys and values", l)
		}
	}
}

// violations returns values that a schema refuses, by the keyword that does.
func violations(s apiextensionsv1.JSONSchemaProps, item any) map[string]any {
	all := map[string]any{}
	if len(s.Enum) > 0 {
		all["enum"] = "Bogus"
	}
	if s.MinItems != nil {
		all["minItems"] = []any{}
	}
	if s.MaxItems != nil {
		all["maxItems"] = slices.Repeat([]any{item}, int(*s.MaxItems)+1)
	}
	if s.XListType != nil && *s.XListType == "set" {
		all["set"] = []any{item, item}
	}
	if s.MinLength != nil {
		all["minLength"] = ""
	}
	if s.MaxLength != nil {
		all["maxLength"] = "**" + strings.Repeat("x", int(*s.MaxLength))
	}
	if s.Pattern != "" {
		for _, value := range []string{"a b", "haproxy", "-"} {
			if !regexp.MustCompile(s.Pattern).MatchString(value) {
				all["pattern "+value] = value
			}
		}
	}
	if len(s.XValidations) > 0 && s.Type == "string" {
		all["rule"] = "  "
	}
	return all
}

// TestValidateKnowsTheSchema: an API server and Validate refuse the same values, whatever
// field they are in, and accept every value of an enumeration.
func TestValidateKnowsTheSchema(t *testing.T) {
	refused := 0
	for _, l := range leaves(nil, specSchema(t)) {
		var item any = "arm64"
		if strings.HasPrefix(l.String(), "exemptions") {
			item = "**"
		}
		if l.String() == "exemptions" {
			item = map[string]any{"images": []any{"**"}, "reason": "r"}
		}
		for keyword, value := range violations(l.schema, item) {
			if _, err := check(with(t, valid, l.path, value)); err == nil {
				t.Errorf("%s: %s: %v is accepted", l, keyword, value)
			}
			refused++
		}
		for _, name := range l.schema.Required {
			var object map[string]any
			if err := json.Unmarshal([]byte(`{"images":["**"],"reason":"r","key":"a","operator":"Exists"}`), &object); err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(object, func(key string, _ any) bool {
				_, known := l.schema.Properties[key]
				return key == name || !known
			})
			if _, err := check(with(t, valid, l.path, object)); err == nil {
				t.Errorf("%s: accepted without %s", l, name)
			}
			refused++
		}
		for _, value := range l.schema.Enum {
			var decoded string
			if err := json.Unmarshal(value.Raw, &decoded); err != nil {
				t.Fatal(err)
			}
			object := with(t, valid, l.path, decoded)
			if decoded == "In" || decoded == "NotIn" { // these take values
				path := l.path[:len(l.path)-1]
				object = with(t, valid, path, map[string]any{"key": "a", "operator": decoded, "values": []any{"v"}})
			}
			if _, err := check(object); err != nil {
				t.Errorf("%s: %q is refused: %v", l, decoded, err)
			}
		}
	}
	if refused < 35 {
		t.Errorf("only %d values were refused", refused)
	}
}

// effects describes everything that a policy does to a range of images, Pods and namespaces.
func effects(p policy.Policy) string {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	var b strings.Builder
	for _, set := range []labels.Set{nil, {"a": "x"}, {"a": "v"}, {"b": "x"}} {
		fmt.Fprint(&b, p.Matches(set, labels.Set{"a": "v"}), p.Matches(labels.Set{"a": "v"}, set))
	}
	image := func(change func(*report.Report)) policy.Image {
		r := report.New()
		change(&r)
		return policy.Image{Reference: "i", Name: "registry.example.com/vendor/i:1", Report: &r}
	}
	binary := func(b report.Binary) policy.Image {
		return image(func(r *report.Report) { r.Binaries = append(r.Binaries, b) })
	}
	v1, unknown := report.Capset{ABI: report.ABIV1}, report.Capset{ABI: report.ABIUnknown}
	images := []policy.Image{
		binary(report.Binary{Capset: v1, Trigger: &report.Trigger{When: report.WhenStart}}),
		binary(report.Binary{Capset: v1, Trigger: &report.Trigger{When: report.WhenConditional}}),
		binary(report.Binary{Capset: v1, Other: true}),
		binary(report.Binary{Capset: unknown}),
		image(func(r *report.Report) { r.Complete, r.Gaps = false, []report.Gap{{Reason: report.GapNotRead}} }),
	}
	for _, class := range append(report.FailureClasses(), report.FailureInternal) {
		images = append(images, policy.Image{Reference: "i", Name: "registry.example.com/vendor/i:1", Failure: &report.Failure{Class: class}})
	}
	for _, arch := range (v1alpha1.Architecture("")).Values() {
		for _, image := range policy.Spread(images, []string{arch}) {
			scope, wanted := policy.Wanted(now, []policy.Policy{p}, image)
			fmt.Fprintln(&b, scope, wanted)
			for _, d := range []policy.Decision{policy.Evaluate(now, []policy.Policy{p}, []policy.Image{image}),
				policy.EvaluateWorkload(now, []policy.Policy{p}, []policy.Image{image})} {
				fmt.Fprintln(&b, d.Action, len(d.Findings), d.Exempted, d.NotRead)
			}
		}
	}
	return b.String()
}

// TestEveryFieldActs: each value of each field has an effect of its own on some decision, so
// that no field is forgotten on the way from a policy object to a decision.
func TestEveryFieldActs(t *testing.T) {
	const base = `{"action":"Reject","exemptions":[{"images":["**/vendor/*"],"reason":"r"}]}` // for workloads and the parts of exemptions
	differ := func(l leaf, value any, seen map[string]string) {
		t.Helper()
		spec := `{"action":"Reject"}`
		if l.path[0] == "exemptions" {
			spec = base
		}
		p, err := check(with(t, spec, l.path, value))
		if err != nil {
			t.Errorf("%s: %v: %v", l, value, err)
			return
		}
		got := effects(p)
		if other, same := seen[got]; same {
			t.Errorf("%s: %v has the effect of %s", l, value, other)
		}
		seen[got] = fmt.Sprint(value)
	}
	without := func(spec string) map[string]string {
		p, err := check([]byte(`{"spec":` + spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{effects(p): "no value"}
	}
	requirement := []any{map[string]any{"key": "a", "operator": "In", "values": []any{"x"}}}
	examples := map[string]any{
		"exemptions": []any{}, "exemptions.[].reason": "another", "exemptions.[].expires": "2020-01-01T00:00:00Z",
		"exemptions.[].images":          []any{"other.example.com/**"},
		"podSelector.matchLabels":       map[string]any{"a": "x"},
		"podSelector.matchExpressions":  requirement,
		"namespaceSelector.matchLabels": map[string]any{"a": "x"}, "namespaceSelector.matchExpressions": requirement,
	}
	tried := map[string]bool{}
	for _, l := range leaves(nil, specSchema(t)) {
		name := l.String()
		example, has := examples[name]
		switch {
		case has && l.path[0] == "exemptions":
			differ(l, example, without(base))
		case has:
			differ(l, example, without(`{"action":"Reject"}`))
		case len(l.schema.Enum) > 0 && l.path[len(l.path)-1] != "operator": // the API's own
			seen := map[string]string{}
			for _, value := range l.schema.Enum {
				var decoded string
				if err := json.Unmarshal(value.Raw, &decoded); err != nil {
					t.Fatal(err)
				}
				differ(l, decoded, seen)
			}
		default:
			continue
		}
		tried[name] = true
	}
	for _, l := range leaves(nil, specSchema(t)) {
		covered := tried[l.String()] || slices.ContainsFunc(slices.Collect(maps.Keys(tried)), func(name string) bool {
			return strings.HasPrefix(name, l.String()+".") || strings.HasPrefix(l.String(), name+".")
		})
		if len(l.path) > 0 && !covered {
			t.Errorf("no effect of %s was tried: give an example", l)
		}
	}
}

// TestClassesAreFields: onScanError has one field for each class of error.
func TestClassesAreFields(t *testing.T) {
	got := slices.Sorted(maps.Keys(specSchema(t).Properties["onScanError"].Properties))
	want := []string{"default"}
	for _, class := range report.FailureClasses() {
		want = append(want, string(class))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-classes +fields):\n%s", diff)
	}
}

// byMode are the fields that a preset sets from its mode, or leaves at their default since a
// policy of one's own has them.
var byMode = []string{"namespaceSelector", "podSelector", "action", "workloads"}

// TestChartKnowsTheSchema: the presets of the chart take every field, class of error and value
// of an enumeration, in values.schema.json, in values.yaml and in their template.
func TestChartKnowsTheSchema(t *testing.T) {
	chart := filepath.Join("..", "..", "charts", "capvet")
	text := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(chart, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	type schema struct {
		Ref        string            `json:"$ref"`
		Enum       []string          `json:"enum"`
		Properties map[string]schema `json:"properties"`
		Items      *schema           `json:"items"`
		MinItems   *int64            `json:"minItems"`
		MaxItems   *int64            `json:"maxItems"`
		MinLength  *int64            `json:"minLength"`
		MaxLength  *int64            `json:"maxLength"`
	}
	var values struct {
		Definitions map[string]schema `json:"definitions"`
		Properties  map[string]schema `json:"properties"`
	}
	if err := json.Unmarshal(text("values.schema.json"), &values); err != nil {
		t.Fatal(err)
	}
	var defaults struct {
		Presets map[string]any `json:"presets"`
	}
	if err := yaml.Unmarshal(text("values.yaml"), &defaults); err != nil {
		t.Fatal(err)
	}
	template := string(text("templates/presets.yaml"))
	var compare func(path string, crd apiextensionsv1.JSONSchemaProps, in schema)
	compare = func(path string, crd apiextensionsv1.JSONSchemaProps, in schema) {
		if in.Ref != "" {
			in = values.Definitions[strings.TrimPrefix(in.Ref, "#/definitions/")]
		}
		var enum []string
		for _, value := range crd.Enum {
			enum = append(enum, strings.Trim(string(value.Raw), `"`))
		}
		if diff := cmp.Diff(enum, in.Enum); diff != "" {
			t.Errorf("values.schema.json: %s (-CRD +chart):\n%s", path, diff)
		}
		bounds := func(all ...*int64) []*int64 { return all }
		if diff := cmp.Diff(bounds(crd.MinItems, crd.MaxItems, crd.MinLength, crd.MaxLength),
			bounds(in.MinItems, in.MaxItems, in.MinLength, in.MaxLength)); diff != "" {
			t.Errorf("values.schema.json: bounds of %s (-CRD +chart):\n%s", path, diff)
		}
		for name, property := range crd.Properties {
			known, ok := in.Properties[name]
			if !ok {
				t.Errorf("values.schema.json: %s has no %s", path, name)
				continue
			}
			compare(path+"."+name, property, known)
		}
		if crd.Items != nil && in.Items == nil {
			t.Errorf("values.schema.json: %s has no items", path)
		}
		if crd.Items != nil && in.Items != nil {
			compare(path+"[]", *crd.Items.Schema, *in.Items)
		}
	}
	for name, property := range specSchema(t).Properties {
		if slices.Contains(byMode, name) {
			continue
		}
		known, ok := values.Properties["presets"].Properties[name]
		if !ok {
			t.Errorf("values.schema.json: presets has no %s: add it, here and in values.yaml and templates/presets.yaml, or to byMode", name)
			continue
		}
		compare("presets."+name, property, known)
		if _, ok := defaults.Presets[name]; !ok {
			t.Errorf("values.yaml: presets has no %s", name)
		}
		if !strings.Contains(template, ".values."+name) {
			t.Errorf("templates/presets.yaml does not use %s", name)
		}
	}
}
