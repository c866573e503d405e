// Package harness runs capvet as it runs in a cluster: a real kube-apiserver
// and etcd with the shipped manifests installed, and the webhook as a process
// of its own under its own RBAC identity. The integration tests and the demo
// use it. Everything listens on loopback.
//
// It is not for production, and it trusts the repository it runs in.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/capvet/capvet/api/v1alpha1"
)

// ControlPlane is a running etcd and kube-apiserver.
type ControlPlane struct {
	// Config is the cluster administrator's.
	Config *rest.Config
	// Client is the cluster administrator's.
	Client client.Client
	// Kubeconfig is the path of the cluster administrator's kubeconfig.
	Kubeconfig string
	// Kubectl is the path of the kubectl of the same release.
	Kubectl string
	// AuditLog is the path of the API server's audit log: one JSON event a line,
	// with metadata, for Pods.
	AuditLog string
	// Log is the path of the API server's own log.
	Log string
	// ClientCA is the path of the certificate authority of the certificate,
	// named ClientName, that the API server shows to webhooks.
	ClientCA string

	dir         string
	environment *envtest.Environment
}

// auditPolicy limits the audit log to Pods.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources:
  - group: ""
    resources: [pods, pods/ephemeralcontainers]
- level: None
`

// startTimeout is how long each of etcd and kube-apiserver may take to start.
const startTimeout = 2 * time.Minute

// StartControlPlane starts the binaries in the folder assets and keeps all
// files of its own in the folder dir.
func StartControlPlane(assets, dir string) (*ControlPlane, error) {
	ctrl.SetLogger(logr.Discard()) // envtest's own; its errors are returned all the same
	c := &ControlPlane{
		dir:        dir,
		Kubectl:    filepath.Join(assets, "kubectl"),
		AuditLog:   filepath.Join(dir, "audit.log"),
		Log:        filepath.Join(dir, "kube-apiserver.log"),
		Kubeconfig: filepath.Join(dir, "admin.kubeconfig"),
	}
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	c.environment = &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	// Folders of ours, that outlive the processes: they can be started again.
	server, store := c.environment.ControlPlane.GetAPIServer(), &envtest.Etcd{}
	c.environment.ControlPlane.Etcd = store
	server.CertDir, store.DataDir = filepath.Join(dir, apiServerFolder), filepath.Join(dir, etcdFolder)
	if err := errors.Join(os.MkdirAll(server.CertDir, 0o700), os.MkdirAll(store.DataDir, 0o700)); err != nil {
		return nil, err
	}
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the API server has its own copy
	c.environment.ControlPlane.GetAPIServer().Err = log
	admissionConfig, err := c.writeClientCertificate()
	if err != nil {
		return nil, err
	}
	// envtest turns the ServiceAccount plugin off for want of a controller
	// manager. Pods are to get their pull secrets from it, as in a cluster.
	c.environment.ControlPlane.GetAPIServer().Configure().
		Disable("disable-admission-plugins").
		Set("admission-control-config-file", admissionConfig).
		Set("audit-policy-file", policy).
		Set("audit-log-path", c.AuditLog)
	config, err := c.environment.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane from %s: %w", assets, err), c.environment.Stop())
	}
	c.Config = config
	if err := os.WriteFile(c.Kubeconfig, c.environment.KubeConfig, 0o600); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(kubernetesScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if c.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Stop ends both processes and waits for them.
func (c *ControlPlane) Stop() error { return c.environment.Stop() }

// CreateNamespace creates a namespace and, as a controller manager would, its
// default ServiceAccount.
func (c *ControlPlane) CreateNamespace(ctx context.Context, name string, labels map[string]string) error {
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}},
	} {
		if err := c.Client.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating %T %s: %w", object, name, err)
		}
	}
	return nil
}

// ServiceAccountKubeconfig writes a kubeconfig that is a ServiceAccount's, as a
// Pod would hold it, and returns its path.
func (c *ControlPlane) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (string, error) {
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return "", err
	}
	lifetime := int64((24 * time.Hour).Seconds())
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["cluster"] = &clientcmdapi.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	kubeconfig.AuthInfos["user"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	kubeconfig.Contexts["context"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "user"}
	kubeconfig.CurrentContext = "context"
	path := filepath.Join(c.dir, namespace+"-"+name+".kubeconfig")
	return path, clientcmd.WriteToFile(*kubeconfig, path)
}
