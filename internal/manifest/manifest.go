// Package manifest reads Kubernetes manifests, with the file and line of every object.
//
// It is not for validation: every value with a kind is an object. The size of files and their
// aliases are bounded.
package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// MaxBytes bounds one file.
const MaxBytes = 32 << 20

// Object is one object of a file.
type Object struct {
	// File is the name of the file, and Line the first line of the object, counted from 1.
	File string
	Line int
	metav1.TypeMeta
	// Metadata are the object's name, namespace and labels.
	Metadata metav1.ObjectMeta
	// JSON is the whole object.
	JSON []byte

	node *yamlnode.Node
}

// Group returns the object's API group.
func (o Object) Group() string {
	version, err := schema.ParseGroupVersion(o.APIVersion)
	if err != nil {
		return o.APIVersion
	}
	return version.Group
}

// Read returns the objects of a file in YAML or JSON: of each document, or the items of a List.
// Errors name the file and, if possible, the line.
func Read(file string, r io.Reader) ([]Object, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(content) > MaxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", file, MaxBytes)
	}
	var objects []Object
	for _, d := range documents(content) {
		found, err := d.objects(file)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// document is one of a file's documents.
type document struct {
	content []byte
	before  int // number of lines before it
}

// documents splits a file at its markers.
func documents(content []byte) []document {
	var all []document
	start, startLine, offset, line := 0, 0, 0, 0
	for full := range bytes.Lines(content) {
		text := bytes.TrimRight(full, " \t\r\n")
		if bytes.Equal(text, []byte("---")) || bytes.HasPrefix(text, []byte("--- ")) {
			all = append(all, document{content[start:offset], startLine})
			start, startLine = offset, line
		}
		offset += len(full)
		line++
	}
	return append(all, document{content[start:], startLine})
}

func (d document) objects(file string) ([]Object, error) {
	var root yamlnode.Node
	if err := yamlnode.Unmarshal(d.content, &root); err != nil {
		return nil, fmt.Errorf("%s: in the document from line %d: %w", file, d.before+1, err)
	}
	if len(root.Content) == 0 || root.Content[0].Kind == yamlnode.ScalarNode && root.Content[0].Tag == "!!null" {
		return nil, nil // only comments
	}
	// The same conversion as kubectl's, which knows YAML 1.1: on is true.
	encoded, err := yaml.YAMLToJSON(d.content)
	if err != nil {
		return nil, fmt.Errorf("%s: in the document from line %d: %w", file, d.before+1, err)
	}
	return d.expand(file, root.Content[0], encoded)
}

// expand returns an object, or the items of a List.
func (d document) expand(file string, node *yamlnode.Node, encoded []byte) ([]Object, error) {
	o := Object{File: file, Line: d.before + node.Line, JSON: encoded, node: node}
	var head struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(encoded, &head); err != nil {
		return nil, fmt.Errorf("%s:%d: no Kubernetes object: %w", file, o.Line, err)
	}
	if head.Kind == "" {
		return nil, fmt.Errorf("%s:%d: the object has no kind", file, o.Line)
	}
	o.TypeMeta, o.Metadata = head.TypeMeta, head.Metadata
	items := field(node, "items")
	if !strings.HasSuffix(head.Kind, "List") || items == nil {
		o.node = shifted(node, d.before)
		return []Object{o}, nil
	}
	var objects []Object
	for i, item := range head.Items {
		if i >= len(items.Content) {
			break
		}
		found, err := d.expand(file, items.Content[i], item)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// shifted returns a node with lines counted from the start of the file.
func shifted(node *yamlnode.Node, by int) *yamlnode.Node {
	if by == 0 {
		return node
	}
	moved := *node
	moved.Line += by
	moved.Content = make([]*yamlnode.Node, len(node.Content))
	for i, child := range node.Content {
		moved.Content[i] = shifted(child, by)
	}
	return &moved
}

// ContainerLine returns the line of a container's image in the Pod or template at path, or the
// object's line without such a container.
func (o Object) ContainerLine(path []string, container string) int {
	node := o.node
	for _, name := range append(path, "spec") {
		if node = field(node, name); node == nil {
			return o.Line
		}
	}
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		containers := field(node, list)
		if containers == nil {
			continue
		}
		for _, c := range containers.Content {
			if name := field(c, "name"); name == nil || name.Value != container {
				continue
			}
			if image := field(c, "image"); image != nil {
				return image.Line
			}
			return c.Line
		}
	}
	return o.Line
}

// field returns the value of a mapping's key, nil without that key. An alias is followed once: it
// names an anchor, never another alias.
func field(node *yamlnode.Node, key string) *yamlnode.Node {
	if node == nil {
		return nil
	}
	if node.Kind == yamlnode.AliasNode {
		node = node.Alias
	}
	if node.Kind != yamlnode.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			value := node.Content[i+1]
			if value.Kind == yamlnode.AliasNode {
				value = value.Alias
			}
			return value
		}
	}
	return nil
}
