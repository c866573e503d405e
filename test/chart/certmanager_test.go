//go:build chart

package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/capvet/capvet/test/process"
)

// kubeletDelay is how long after a Secret's change its files change in the Pods
// here. A kubelet takes up to a minute and a half.
const kubeletDelay = 5 * time.Second

// certManagerCRDs returns the folder with the kinds of the cert-manager that
// tools/certmanager is built from.
func certManagerCRDs(t *testing.T) string {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/cert-manager/cert-manager")
	download.Dir = filepath.Join(shared.root, "tools", "certmanager")
	output, err := download.Output()
	if err != nil {
		t.Fatalf("go mod download: %v %s", err, output)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(module.Dir, "deploy", "crds")
}

// startCertManager runs cert-manager's controllers and cainjector.
func startCertManager(t *testing.T) {
	t.Helper()
	if output, err := kubectl(t, "", "apply", "--server-side", "-f", certManagerCRDs(t)); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	if _, err := kubectl(t, "", "wait", "--for", "condition=established", "--timeout", "60s", "crd", "--all"); err != nil {
		t.Fatal(err)
	}
	certManager, err := process.Start(exec.Command(shared.certManager, "--kubeconfig="+shared.cluster.Kubeconfig),
		filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := certManager.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("cert-manager's log ends with:\n%s", certManager.Tail())
		}
	})
}

// secretData returns the data of a Secret in the release's namespace.
func secretData(ctx context.Context, name string) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	err := shared.cluster.Client.Get(ctx, types.NamespacedName{Namespace: releaseNamespace, Name: name}, secret)
	return secret.Data, err
}

// renew has cert-manager issue a Certificate anew, as cmctl renew does, and waits
// until its Secret has the new one.
func renew(t *testing.T, certificate, secret string) {
	t.Helper()
	before, err := secretData(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	condition := fmt.Sprintf(`{"status":{"conditions":[{
		"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"by a test","lastTransitionTime":%q}]}}`,
		time.Now().UTC().Format(time.RFC3339))
	if _, err := kubectl(t, "", "patch", "certificate", certificate, "-n", releaseNamespace, "--subresource=status", "--type=merge", "-p",
		condition); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		now, err := secretData(ctx, secret)
		if err == nil && bytes.Equal(now["tls.crt"], before["tls.crt"]) {
			err = errors.New("cert-manager has not renewed it")
		}
		return err
	})
}

// followSecret keeps a replica's files as a kubelet does: late.
func followSecret(t *testing.T, replicas ...*replica) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		var last []byte
		for ctx.Err() == nil {
			data, err := secretData(ctx, "capvet-tls")
			if err == nil && !bytes.Equal(data["tls.crt"], last) {
				last = data["tls.crt"]
				time.Sleep(kubeletDelay)
				for _, r := range replicas {
					if err := errors.Join(
						os.WriteFile(filepath.Join(r.certificates, "tls.key"), data["tls.key"], 0o600),
						os.WriteFile(filepath.Join(r.certificates, "tls.crt"), data["tls.crt"], 0o600),
					); err != nil {
						t.Error(err)
					}
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
}

// TestCertManager installs with cert-manager's own controllers running: it issues,
// cainjector fills in the caBundle, and neither a renewal of the certificate nor
// one of its CA loses a request, though the replicas get their files late.
func TestCertManager(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	startCertManager(t)
	if err := shared.cluster.CreateNamespace(t.Context(), "issued", map[string]string{"capvet.dev/mode": "warn"}); err != nil {
		t.Fatal(err)
	}
	r := newRelease(b, host, "--set", "certificates.mode=cert-manager")
	r.apply(t, "install")
	t.Cleanup(func() { // cert-manager leaves them
		for _, name := range []string{"capvet-tls", "capvet-ca"} {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: name}}
			if err := shared.cluster.Client.Delete(context.Background(), secret); err != nil {
				t.Error(err)
			}
		}
	})
	uninstallAfter(t)
	// The one name that is different here: API server and balancer are on loopback.
	if _, err := kubectl(t, "", "patch", "certificate", "capvet", "-n", releaseNamespace, "--type=merge", "-p",
		`{"spec":{"ipAddresses":["127.0.0.1"]}}`); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		data, err := secretData(ctx, "capvet-tls")
		if err != nil {
			return err
		}
		if leaf := parseCertificate(t, data["tls.crt"]); leaf.VerifyHostname("127.0.0.1") != nil ||
			leaf.VerifyHostname("capvet.capvet-system.svc") != nil {
			return fmt.Errorf("issued for %v %v", leaf.DNSNames, leaf.IPAddresses)
		}
		if c := configuration(t); !bytes.Equal(c.Webhooks[0].ClientConfig.CABundle, data["ca.crt"]) {
			return errors.New("cainjector has not filled in the caBundle")
		}
		return nil
	})
	replicas := r.serve(t, shared.webhook)
	followSecret(t, replicas...)
	eventually(t, judged("issued", image))

	for _, tt := range []struct {
		name          string
		renew         [][2]string // Certificates and their Secrets
		keepsCABundle bool
	}{
		{"the certificate renewed by cert-manager", [][2]string{{"capvet", "capvet-tls"}}, true},
		{"the CA renewed by cert-manager, then the certificate", [][2]string{{"capvet-ca", "capvet-ca"}, {"capvet", "capvet-tls"}}, false},
	} {
		l := startLoad(t, "issued", image)
		before, err := servedCertificate(t.Context(), replicas[1].address)
		if err != nil {
			t.Fatal(err)
		}
		bundle := configuration(t).Webhooks[0].ClientConfig.CABundle
		for _, names := range tt.renew {
			renew(t, names[0], names[1])
		}
		l.passes(t, replicas[1], before)
		l.report(t, tt.name, true)
		if kept := bytes.Equal(configuration(t).Webhooks[0].ClientConfig.CABundle, bundle); kept != tt.keepsCABundle {
			t.Errorf("%s: the caBundle is as it was: %v", tt.name, kept)
		}
		for _, replica := range replicas {
			if err := replica.ready(t.Context()); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
	if text, err := os.ReadFile(replicas[0].Log); err != nil || strings.Contains(string(text), "forbidden") {
		t.Errorf("a right is missing: %v", err)
	}
}
