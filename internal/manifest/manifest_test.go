package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const several = `# a comment
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {a: b}}
spec:
  containers:
  - name: lb
    image: haproxy:3.0
---
# nothing here
---

apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: two
    namespace: shop
  spec:
    template:
      spec:
        initContainers:
        - image: busybox
          name: setup
        containers:
        - {name: lb, image: "haproxy:3.1"}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
--- # the last
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "three"}}
`

func TestRead(t *testing.T) {
	objects, err := Read("f.yaml", strings.NewReader(several))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, fmt.Sprintf("%s:%d %s %s %s/%s", o.File, o.Line, o.Group(), o.Kind, o.Metadata.Namespace, o.Metadata.Name))
	}
	want := []string{"f.yaml:2  Pod /one", "f.yaml:16 apps Deployment shop/two", "f.yaml:29  Namespace /shop", "f.yaml:31  Pod /three"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		object    int
		path      []string
		container string
		want      int
	}{
		{0, nil, "lb", 8}, {0, nil, "other", 2}, {1, []string{"spec", "template"}, "lb", 28},
		{1, []string{"spec", "template"}, "setup", 25}, {1, nil, "lb", 16}, {3, nil, "lb", 31},
	} {
		if got := objects[tt.object].ContainerLine(tt.path, tt.container); got != tt.want {
			t.Errorf("object %d, container %s: line %d, want %d", tt.object, tt.container, got, tt.want)
		}
	}
	if objects[0].Metadata.Labels["a"] != "b" || !strings.Contains(string(objects[1].JSON), `"haproxy:3.1"`) {
		t.Errorf("got %+v", objects)
	}
}

func TestReadRefuses(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), c-1)
	}
	for name, tt := range map[string]struct{ content, want string }{
		"no YAML":   {"kind: Pod\n---\na: [", "from line 2"},
		"no kind":   {"---\na: b\n", "f.yaml:2: the object has no kind"},
		"no object": {"- a\n- b\n", "f.yaml:1: no Kubernetes object"},
		"a text":    {"hello\n", "f.yaml:1: no Kubernetes object"},
		"aliases":   {bomb, "excessive aliasing"},
		"too large": {strings.Repeat("#", MaxBytes+1), "more than"},
	} {
		_, err := Read("f.yaml", strings.NewReader(tt.content))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(several))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("kind: List\nitems: 1\n"))
	f.Add([]byte("kind: List\nitems: &x [{kind: Pod, spec: {containers: *x}}]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		objects, err := Read("f", strings.NewReader(string(content)))
		if err != nil {
			return
		}
		lines := strings.Count(string(content), "\n") + 1
		for _, o := range objects {
			if line := o.ContainerLine([]string{"spec", "template"}, "lb"); o.Kind == "" || o.Line < 1 || line < 1 {
				t.Errorf("%+v of %d lines: line %d", o, lines, line)
			}
		}
	})
}
