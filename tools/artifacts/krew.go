package main

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// krewFile is the manifest's name in krew-index: the plugin's name.
const krewFile = "capvet.yaml"

// plugin and the types below are the parts of a plugin's manifest that krew reads
// (krew.googlecontainertools.github.com/v1alpha2).
type plugin struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   metadata   `json:"metadata"`
	Spec       pluginSpec `json:"spec"`
}

type metadata struct {
	Name string `json:"name"`
}

type pluginSpec struct {
	Version          string           `json:"version"`
	Homepage         string           `json:"homepage"`
	ShortDescription string           `json:"shortDescription"`
	Description      string           `json:"description"`
	Platforms        []pluginPlatform `json:"platforms"`
}

type pluginPlatform struct {
	Selector selector `json:"selector"`
	URI      string   `json:"uri"`
	SHA256   string   `json:"sha256"`
	// Bin is the executable within the archive. krew links kubectl-capvet to it.
	Bin string `json:"bin"`
}

type selector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// krewManifest returns the plugin's manifest for archives that are attached to
// the release of the version.
func krewManifest(version string, archives []archive) ([]byte, error) {
	const home = "https://github.com/capvet/capvet"
	p := plugin{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2",
		Kind:       "Plugin",
		Metadata:   metadata{"capvet"},
		Spec: pluginSpec{
			Version: version, Homepage: home,
			ShortDescription: "Find legacy 32-bit capability calls in images",
			Description: `Tells which proxy binaries (HAProxy, nginx, or any ELF executable) still use the
kernel's legacy 32-bit capability ABI: in images, in files, and in what manifests
would start, judged by the policies of a capvet admission webhook.
`,
		},
	}
	for _, a := range archives {
		p.Spec.Platforms = append(p.Spec.Platforms, pluginPlatform{
			Selector: selector{map[string]string{"os": a.platform.os, "arch": a.platform.arch}},
			URI:      fmt.Sprintf("%s/releases/download/%s/%s", home, version, a.name),
			SHA256:   a.sha256,
			Bin:      "capvet",
		})
	}
	return yaml.Marshal(p)
}
