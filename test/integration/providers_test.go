//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

// cloudPath is where the private registry's images are that a credential
// provider has the password of.
const cloudPath = "/cloud"

// writeProvider writes a credential provider plugin with its configuration, as
// nodes have them, and returns the webhook's flags for it.
func (c *cluster) writeProvider() ([]string, error) {
	dir := filepath.Join(c.dir, "providers")
	config := filepath.Join(dir, "config.yaml")
	key := c.private.Host() + cloudPath
	return []string{"--image-credential-provider-config=" + config, "--image-credential-provider-bin-dir=" + dir}, errors.Join(
		os.Mkdir(dir, 0o700),
		os.WriteFile(config, fmt.Appendf(nil, `
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: cloud
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: [%q]
  defaultCacheDuration: 10m
  env: [{name: PASSWORD, value: %q}]
`, key, privatePassword), 0o600),
		os.WriteFile(filepath.Join(dir, "cloud"), fmt.Appendf(nil, `#!/bin/sh
printf '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry",
"auth":{"%s":{"username":"%s","password":"%%s"}}}' "$PASSWORD"
`, key, privateUser), 0o700))
}

// TestCredentialProvider: an image that only capvet's own identity can pull is
// read for a Pod without pull secrets; its credentials are for no other image.
func TestCredentialProvider(t *testing.T) {
	ns := namespace(t, &v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn})
	someone := newPerson(t)
	for name, tt := range map[string]struct{ image, want string }{
		"cloud":   {shared.images.cloud, "legacy 32-bit"},
		"private": {shared.images.private, "accepted none of the Pod's credentials"},
	} {
		warnings, err := create(t, someone, ns, pod(name, tt.image))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(warnings, "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q", tt.image, got)
		}
	}
}
