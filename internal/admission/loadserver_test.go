//go:build load

package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/clusterstate"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/reviewserver"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/report"
)

// The environment variables that make a process of this test a server.
const (
	loadServe = "CAPVET_LOAD_SERVE" // the kind of server: noop or capvet
	loadPort  = "CAPVET_LOAD_PORT"
	loadCerts = "CAPVET_LOAD_CERTS"
)

// startTime is how long a server may take until it answers.
const startTime = 30 * time.Second

func TestMain(m *testing.M) {
	if kind := os.Getenv(loadServe); kind != "" {
		if err := serveLoad(context.Background(), kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveLoad serves until the process ends: a no-op in controller-runtime's server, or
// capvet's handler in its own server, with logs and metrics, as in the program.
func serveLoad(ctx context.Context, kind string) error {
	log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil))
	logf.SetLogger(log)
	port, err := strconv.Atoi(os.Getenv(loadPort))
	if err != nil {
		return err
	}
	if kind == "noop" {
		server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: os.Getenv(loadCerts)})
		server.Register("/validate", &admission.Webhook{Handler: noop{}})
		return server.Start(ctx)
	}
	handler, err := loadHandler(ctx)
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(os.Getenv(loadCerts), "tls.crt"), filepath.Join(os.Getenv(loadCerts), "tls.key"))
	if err != nil {
		return err
	}
	server, err := reviewserver.New(reviewserver.Options{
		Host: "127.0.0.1", Port: port,
		Connections: reviewserver.DefaultConnections, ReviewMemory: reviewserver.DefaultReviewMemory,
		HeaderTime: startTime, ReviewTime: startTime, IdleTime: startTime,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		Registry:       prometheus.NewRegistry(),
		Log:            log,
	})
	if err != nil {
		return err
	}
	server.Handle("/validate", handler)
	return server.Start(ctx)
}

// loadHandler returns capvet's handler, with policies and nodes of a large cluster.
func loadHandler(ctx context.Context) (*Handler, error) {
	index, err := loadPolicyIndex(ctx)
	if err != nil {
		return nil, err
	}
	nodes := placement.NewNodes()
	for i := range loadNodes {
		nodes.Set(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{
			"kubernetes.io/arch": []string{"amd64", "arm64"}[i%2], "zone": fmt.Sprintf("zone-%d", i%3)}}})
	}
	metrics := NewMetrics(prometheus.NewRegistry())
	return &Handler{Policies: index, Nodes: nodes, Images: remembered{legacyReport(), report.New()}, Observer: metrics, Now: time.Now}, nil
}

// loadPolicyIndex holds half of its policies for the cluster, half for namespaces.
func loadPolicyIndex(ctx context.Context) (*clusterstate.PolicyIndex, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c := &loadCache{FakeInformers: informertest.FakeInformers{Scheme: scheme}, namespaces: map[string]*corev1.Namespace{"free": {}}}
	index, err := clusterstate.NewPolicyIndex(ctx, c, c, nil)
	if err != nil {
		return nil, err
	}
	clusterPolicies, err := c.FakeInformerFor(ctx, &v1alpha1.ClusterCapsetPolicy{})
	if err != nil {
		return nil, err
	}
	ownPolicies, err := c.FakeInformerFor(ctx, &v1alpha1.CapsetPolicy{})
	if err != nil {
		return nil, err
	}
	for i := range loadPolicies / 2 {
		namespace, team := fmt.Sprintf("ns-%d", i), fmt.Sprintf("team-%d", i)
		c.namespaces[namespace] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
			"team": team, policy.LabelMetadataName: namespace}}}
		ownPolicies.Add(&v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: namespace}})
		clusterPolicies.Add(&v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%d", i)},
			Spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: v1alpha1.LabelSelector{
				MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(team)}}}})
	}
	return index, nil
}

// loadCache is a cache of namespaces, with informers for policies.
type loadCache struct {
	informertest.FakeInformers
	namespaces map[string]*corev1.Namespace
}

func (c *loadCache) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	known, ok := c.namespaces[key.Name]
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
	}
	*object.(*corev1.Namespace) = *known
	return nil
}

// remembered reads every image at once, as a scanner does from its cache.
type remembered struct{ legacy, clean report.Report }

func (r remembered) Read(_ context.Context, _ Puller, wanted judge.Wanted) (report.Report, error) {
	if strings.Contains(wanted.Reference, "haproxy") {
		return r.legacy, nil
	}
	return r.clean, nil
}

type noop struct{}

func (noop) Handle(context.Context, admission.Request) admission.Response {
	return admission.Allowed("")
}

// loadServer is a server in a process of its own.
type loadServer struct {
	name, address, path string
	process             *os.Process
}

// loadFiles are the files of the servers.
type loadFiles struct {
	dir   string
	roots *x509.CertPool
}

func newLoadFiles(t *testing.T) *loadFiles {
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &loadFiles{dir: t.TempDir(), roots: x509.NewCertPool()}
	f.roots.AppendCertsFromPEM(certificate)
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(f.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// serve starts this test's own program as a server.
func (f *loadFiles) serve(t *testing.T, kind string) *loadServer {
	port := freePort(t)
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), loadServe+"="+kind, loadPort+"="+port, loadCerts+"="+f.dir)
	return f.start(t, kind, "/validate", port, command)
}

// servePodSecurity starts pod-security-admission's webhook with an API server that
// has as many namespaces as capvet's load.
func (f *loadFiles) servePodSecurity(t *testing.T) *loadServer {
	tools := os.Getenv("CAPVET_PODSECURITY_TOOLS")
	if tools == "" {
		t.Fatal("CAPVET_PODSECURITY_TOOLS is not set: run make bench-load")
	}
	list := corev1.NamespaceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	add := func(name string, labels map[string]string) {
		list.Items = append(list.Items, corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	add("free", nil)
	for i := range loadPolicies / 2 {
		add(fmt.Sprintf("ns-%d", i), map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
		add(fmt.Sprintf("warn-%d", i), map[string]string{"pod-security.kubernetes.io/warn": "restricted"})
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	apiServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch {
		case query.Get("sendInitialEvents") != "": // it then asks for a list
			http.Error(w, "no streaming lists here", http.StatusBadRequest)
		case query.Get("watch") != "":
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(encoded)
		}
	}))
	t.Cleanup(apiServer.Close)
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["load"] = &clientcmdapi.Cluster{Server: apiServer.URL}
	kubeconfig.Contexts["load"] = &clientcmdapi.Context{Cluster: "load"}
	kubeconfig.CurrentContext = "load"
	path := filepath.Join(f.dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*kubeconfig, path); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	command := exec.CommandContext(t.Context(), filepath.Join(tools, "webhook"), "--kubeconfig", path, "--bind-address", "127.0.0.1",
		"--secure-port", port, "--tls-cert-file", filepath.Join(f.dir, "tls.crt"), "--tls-private-key-file", filepath.Join(f.dir, "tls.key"))
	return f.start(t, "pod-security-admission", "/", port, command)
}

// start runs a server and waits until it answers over TLS.
func (f *loadFiles) start(t *testing.T, name, path, port string, command *exec.Cmd) *loadServer {
	var output bytes.Buffer
	if name == "pod-security-admission" {
		command.Stderr = &output
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, output.String())
		}
	})
	s := &loadServer{name: name, address: "127.0.0.1:" + port, path: path, process: command.Process}
	for end := time.Now().Add(startTime); ; time.Sleep(50 * time.Millisecond) {
		connection, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13})
		if err == nil {
			_ = connection.Close()
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v", name, err)
		}
	}
}

func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
