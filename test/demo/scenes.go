package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/test/harness"
)

// The demo's namespaces.
const (
	namespaceWarn   = "demo-warn"
	namespaceReject = "demo-reject"
	namespaceNone   = "demo-none"
)

// createNamespaces makes a namespace that warns, one that rejects, and one
// without a policy.
func createNamespaces(ctx context.Context, cluster *harness.ControlPlane) error {
	for namespace, action := range map[string]v1alpha1.Action{
		namespaceWarn: v1alpha1.ActionWarn, namespaceReject: v1alpha1.ActionReject, namespaceNone: "",
	} {
		if err := cluster.CreateNamespace(ctx, namespace, nil); err != nil {
			return err
		}
		if action == "" {
			continue
		}
		policy := &v1alpha1.CapsetPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: namespace},
			Spec:       v1alpha1.CapsetPolicySpec{Action: action},
		}
		if err := cluster.Client.Create(ctx, policy); err != nil {
			return fmt.Errorf("creating the policy of %s: %w", namespace, err)
		}
	}
	return nil
}

// scene is one kubectl command and its expected outcome.
type scene struct {
	title     string
	namespace string
	name      string
	image     string
	refused   bool
	says      []string // parts of kubectl's output
	silent    bool     // kubectl prints no warning
}

func scenes(i images) []scene {
	finding := []string{
		`container "legacy"`, i.haproxy30, "haproxy " + i.version30, "legacy 32-bit (v1) capability calls on arm64",
		"capget in prepare_caps_from_permitted_set", "3.2",
	}
	return []scene{
		{title: "HAProxy 3.0 where the policy warns", namespace: namespaceWarn, name: "legacy", image: i.haproxy30,
			says: append(finding, "Warning: ", "pod/legacy created")},
		{title: "HAProxy 3.0 where the policy rejects", namespace: namespaceReject, name: "legacy", image: i.haproxy30, refused: true,
			says: append(finding, "denied the request: rejected by CapsetPolicy/"+namespaceReject+"/own")},
		{title: "HAProxy 3.0 where there is no policy", namespace: namespaceNone, name: "legacy", image: i.haproxy30, silent: true,
			says: []string{"pod/legacy created"}},
		{title: "HAProxy 3.2 where the policy warns", namespace: namespaceWarn, name: "fixed", image: i.haproxy32, silent: true,
			says: []string{"pod/fixed created"}},
		{title: "HAProxy 3.2 where the policy rejects", namespace: namespaceReject, name: "fixed", image: i.haproxy32, silent: true,
			says: []string{"pod/fixed created"}},
	}
}

// play runs the scene and reports whether it went as expected. The first one
// may come before the webhook has seen the policies, a matter of milliseconds:
// it waits for them with dry runs.
func (s scene) play(ctx context.Context, k kubectl) bool {
	fmt.Printf("\n== %s\n", s.title)
	var output string
	var err error
	wrong := func() string { return s.wrong(output, err) }
	_ = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		output, err = k.quiet(ctx, "run", s.name, "-n", s.namespace, "--image", s.image, "--dry-run=server")
		return wrong() == "", nil
	})
	output, err = k.run(ctx, "run", s.name, "-n", s.namespace, "--image", s.image)
	if w := wrong(); w != "" {
		fmt.Println("** not as expected:", w)
		return false
	}
	return true
}

// wrong returns the difference from the expected outcome, empty if there is none.
func (s scene) wrong(output string, err error) string {
	if refused := err != nil; refused != s.refused {
		return fmt.Sprintf("refused is %v", refused)
	}
	for _, part := range s.says {
		// A dry run adds a remark at the end of the line.
		if !strings.Contains(output, part) {
			return fmt.Sprintf("%q is missing", part)
		}
	}
	if s.silent && strings.Contains(output, "Warning") {
		return "there is a warning"
	}
	return ""
}
