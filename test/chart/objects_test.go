//go:build chart

package chart

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// postRenderVariable makes the test's executable a post-renderer for helm; its
// value is the URL that takes the Service's place.
const postRenderVariable = "CAPVET_POST_RENDER_URL"

// readObjects reads a stream of YAML documents.
func readObjects(r io.Reader) ([]*unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(r, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// postRender points every webhook at a URL instead of a Service.
func postRender(base string, r io.Reader, w io.Writer) error {
	objects, err := readObjects(r)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() == "ValidatingWebhookConfiguration" {
			webhooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
			if err != nil {
				return err
			}
			for _, webhook := range webhooks {
				config := webhook.(map[string]any)["clientConfig"].(map[string]any)
				path, _, err := unstructured.NestedString(config, "service", "path")
				if err != nil {
					return err
				}
				delete(config, "service")
				config["url"] = base + path
			}
			if err := unstructured.SetNestedSlice(object.Object, webhooks, "webhooks"); err != nil {
				return err
			}
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// byName maps kind/name to the objects of a stream. A name that comes twice
// fails the test.
func byName(t *testing.T, stream string) map[string]*unstructured.Unstructured {
	t.Helper()
	objects, err := readObjects(strings.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		key := object.GetKind() + "/" + object.GetName()
		if all[key] != nil {
			t.Fatalf("%s comes twice", key)
		}
		all[key] = object
	}
	return all
}
