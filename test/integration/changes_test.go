//go:build integration

package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

// outcome is how a Pod's creation ended, as its author sees it.
func outcome(warnings []string, err error) string {
	switch text := strings.Join(warnings, "\n"); {
	case denied(err):
		return "Reject"
	case err != nil:
		return "failed: " + err.Error()
	case strings.Contains(text, "makes legacy"):
		return "Warn"
	case text == "":
		return "silence"
	default:
		return "other: " + text
	}
}

// shown is the outcome of a Pod's creation under a policy with each action.
var shown = map[v1alpha1.Action]string{v1alpha1.ActionAudit: "silence", v1alpha1.ActionWarn: "Warn", v1alpha1.ActionReject: "Reject"}

// outcomes counts the outcomes of each phase.
type outcomes struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *outcomes) add(phase, outcome string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts[phase+" "+outcome]++
}

// change is one namespace whose policy's action changes.
type change struct {
	namespace     string
	before, after v1alpha1.Action
	outcomes      *outcomes
}

// create creates a Pod and returns the outcome, which it counts.
func (c change) create(t *testing.T, phase string, n int) string {
	p := hurried(t)
	_, err := p.CoreV1().Pods(c.namespace).Create(t.Context(), pod(fmt.Sprintf("%s-%d", phase, n), shared.images.haproxy30),
		metav1.CreateOptions{})
	got := outcome(p.warnings(), err)
	c.outcomes.add(phase, got)
	return got
}

// settle creates Pods until one has the settled outcome; until then only the allowed one may occur.
func (c change) settle(t *testing.T, phase, allowed, settled string) error {
	for n := 0; ; n++ {
		got := c.create(t, phase, n)
		if got == settled {
			return nil
		}
		if got != allowed {
			return fmt.Errorf("%s, %s: %s; only %s is allowed", c.namespace, phase, got, allowed)
		}
		if err := t.Context().Err(); err != nil {
			return err
		}
	}
}

// run creates the namespace and its policy, changes the policy while Pods are created, and creates more Pods afterwards.
func (c change) run(t *testing.T, admin client.Client) error {
	const around = 4 // Pods during the change, and after it
	if err := shared.CreateNamespace(t.Context(), c.namespace, nil); err != nil {
		return err
	}
	policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: c.namespace},
		Spec: v1alpha1.CapsetPolicySpec{Action: c.before}}
	if err := admin.Create(t.Context(), policy); err != nil {
		return err
	}
	if err := c.settle(t, "new", "silence", shown[c.before]); err != nil {
		return err
	}
	var racing sync.WaitGroup
	errs := make(chan error, around+1)
	for n := range around {
		racing.Go(func() {
			if got := c.create(t, "racing", n); got != shown[c.before] && got != shown[c.after] {
				errs <- fmt.Errorf("%s: %s while %s became %s", c.namespace, got, c.before, c.after)
			}
		})
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"action":%q}}`, c.after))
	if err := admin.Patch(t.Context(), policy, patch); err != nil {
		errs <- err
	}
	racing.Wait()
	close(errs)
	for err := range errs {
		return err
	}
	if err := c.settle(t, "changed", shown[c.before], shown[c.after]); err != nil {
		return err
	}
	for n := range around {
		if got := c.create(t, "settled", n); got != shown[c.after] {
			return fmt.Errorf("%s: %s after %s had shown", c.namespace, got, c.after)
		}
	}
	return nil
}

// TestPoliciesChangeUnderLoad: 200 namespaces with policies of all actions, each
// changed while Pods are made in it. Every answer is one that the policy before
// or the one after gives; once a change shows, only the one after; and no request
// fails.
func TestPoliciesChangeUnderLoad(t *testing.T) {
	const namespaces, workers = 200, 16
	actions := []v1alpha1.Action{v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject}
	administrator := rest.CopyConfig(shared.Config)
	administrator.QPS = -1
	admin, err := client.New(administrator, client.Options{Scheme: shared.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	// The image is in the webhook's cache, so the outcomes depend on policies alone.
	if _, err := create(t, newPerson(t), namespace(t, warning()), pod("first", shared.images.haproxy30)); err != nil {
		t.Fatal(err)
	}
	all := &outcomes{counts: map[string]int{}}
	todo := make(chan int)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := range todo {
				c := change{namespace: fmt.Sprintf("changes-%d", i), before: actions[i%3], after: actions[(i/3+i+1)%3], outcomes: all}
				if c.before == c.after {
					c.after = actions[(i+1)%3]
				}
				if err := c.run(t, admin); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range namespaces {
		todo <- i
	}
	close(todo)
	done.Wait()
	requests := 0
	for what, n := range all.counts {
		if strings.Contains(what, "failed") {
			t.Errorf("%d times %s", n, what)
		}
		requests += n
	}
	t.Logf("%d namespaces, %d requests: %v", namespaces, requests, all.counts)
}
