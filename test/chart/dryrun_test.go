//go:build chart

package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/util/cert"
)

// foreignKinds stand in for kinds that the Prometheus operator brings: the API
// server then takes any object of them. cert-manager's are its own.
var foreignKinds = []struct{ group, version, kind, plural string }{
	{"monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"},
	{"monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"},
}

const foreignCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: PLURAL, kind: KIND}
  versions:
  - name: VERSION
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
`

// TestDryRun: the API server takes every object of every variant, with strict
// validation of its fields, in a namespace with restricted Pod security.
func TestDryRun(t *testing.T) {
	const namespace = "dry-run"
	if err := shared.cluster.CreateNamespace(t.Context(), namespace,
		map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}); err != nil {
		t.Fatal(err)
	}
	var crds strings.Builder
	for _, k := range foreignKinds {
		crds.WriteString(strings.NewReplacer("GROUP", k.group, "VERSION", k.version, "KIND", k.kind, "PLURAL", k.plural).Replace(foreignCRD))
	}
	if _, err := kubectl(t, crds.String(), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t, "", "apply", "--server-side", "-f", certManagerCRDs(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t, "", "wait", "--for", "condition=established", "--timeout", "60s", "crd", "--all"); err != nil {
		t.Fatal(err)
	}
	certificate, _, err := cert.GenerateSelfSignedCertKey("capvet.dry-run.svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range variants(t) {
		t.Run(name, func(t *testing.T) {
			if name == "secret" {
				args = append(args, "--set-file", "certificates.caBundle="+ca)
			}
			text := render(t, append(args, "--namespace", namespace)...)
			output, err := kubectl(t, text, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(output, "Warning") {
				t.Errorf("the API server warns: %s", output)
			}
			if got, want := strings.Count(output, "(server dry run)"), len(byName(t, text)); got != want {
				t.Errorf("%d of %d objects", got, want)
			}
		})
	}
}
