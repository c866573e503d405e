package harness

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// ClientName is the common name of the certificate that the API server shows to
// webhooks.
const ClientName = "kube-apiserver-webhook-client"

// admissionConfiguration has the API server show a certificate to webhooks, as
// docs/operations.md tells an administrator to.
const admissionConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: %q
`

// writeClientCertificate makes the certificate and returns the path of the
// AdmissionConfiguration that names it.
func (c *ControlPlane) writeClientCertificate() (string, error) {
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return "", err
	}
	signer, err := keyutil.ParsePrivateKeyPEM(key)
	if err != nil {
		return "", err
	}
	certificate, err := cert.NewSelfSignedCACert(cert.Config{CommonName: ClientName}, signer.(crypto.Signer))
	if err != nil {
		return "", fmt.Errorf("making a client certificate: %w", err)
	}
	encoded, err := cert.EncodeCertificates(certificate)
	if err != nil {
		return "", err
	}
	c.ClientCA = filepath.Join(c.dir, "webhook-clients.crt")
	kubeconfig, config := filepath.Join(c.dir, "webhooks.kubeconfig"), filepath.Join(c.dir, "admission.yaml")
	webhooks := clientcmdapi.NewConfig()
	webhooks.AuthInfos["*"] = &clientcmdapi.AuthInfo{ClientCertificateData: encoded, ClientKeyData: key}
	return config, errors.Join(
		os.WriteFile(c.ClientCA, encoded, 0o600),
		clientcmd.WriteToFile(*webhooks, kubeconfig),
		os.WriteFile(config, fmt.Appendf(nil, admissionConfiguration, kubeconfig), 0o600))
}
