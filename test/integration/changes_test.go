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

// TestPoliciesChangeUnderLoad: 200 namespaces with policies of all actions, each
// changed while Pods are made in it. Every answer is one that the policy before
// or the one after gives; once a change shows, only the one after; and no request
// fails.
func TestPoliciesChangeUnderLoad(t *testing.T) {
	const namespaces, workers, around = 200, 16, 4
	actions := []v1alpha1.Action{v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject}
	says := map[v1alpha1.Action]string{v1alpha1.ActionAudit: "silence", v1alpha1.ActionWarn: "Warn", v1alpha1.ActionReject: "Reject"}
	administrator := rest.CopyConfig(shared.Config)
	administrator.QPS = -1
	admin, err := client.New(administrator, client.Options{Scheme: shared.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	// The image is known, so that an answer says something of policies alone.
	if _, err := create(t, newPerson(t), namespace(t, warning()), pod("first", shared.images.haproxy30)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	counts := map[string]int{}
	count := func(phase, outcome string) {
		mu.Lock()
		defer mu.Unlock()
		counts[phase+" "+outcome]++
	}
	one := func(i int) error {
		ns := fmt.Sprintf("changes-%d", i)
		before, after := actions[i%3], actions[(i/3+i+1)%3]
		if before == after {
			after = actions[(i+1)%3]
		}
		if err := shared.CreateNamespace(t.Context(), ns, nil); err != nil {
			return err
		}
		policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: ns},
			Spec: v1alpha1.CapsetPolicySpec{Action: before}}
		if err := admin.Create(t.Context(), policy); err != nil {
			return err
		}
		ask := func(name string) string {
			p := hurried(t)
			_, err := p.CoreV1().Pods(ns).Create(t.Context(), pod(name, shared.images.haproxy30), metav1.CreateOptions{})
			return outcome(p.warnings(), err)
		}
		settle := func(phase string, allowed map[string]bool, settled string) error {
			for n := 0; ; n++ {
				got := ask(fmt.Sprintf("%s-%d", phase, n))
				count(phase, got)
				if got == settled {
					return nil
				}
				if !allowed[got] {
					return fmt.Errorf("%s, %s: %s, allowed are %v", ns, phase, got, allowed)
				}
				if err := t.Context().Err(); err != nil {
					return err
				}
			}
		}
		if err := settle("new", map[string]bool{"silence": true}, says[before]); err != nil {
			return err
		}
		var racing sync.WaitGroup
		errs := make(chan error, around)
		for k := range around {
			racing.Go(func() {
				got := ask(fmt.Sprintf("racing-%d", k))
				count("racing", got)
				if got != says[before] && got != says[after] {
					errs <- fmt.Errorf("%s: %s while %s became %s", ns, got, before, after)
				}
			})
		}
		change := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"action":%q}}`, after))
		if err := admin.Patch(t.Context(), policy, change); err != nil {
			errs <- err
		}
		racing.Wait()
		close(errs)
		for err := range errs {
			return err
		}
		if err := settle("changed", map[string]bool{says[before]: true}, says[after]); err != nil {
			return err
		}
		for k := range around {
			got := ask(fmt.Sprintf("settled-%d", k))
			count("settled", got)
			if got != says[after] {
				return fmt.Errorf("%s: %s after %s had shown", ns, got, after)
			}
		}
		return nil
	}
	todo := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range todo {
				if err := one(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range namespaces {
		todo <- i
	}
	close(todo)
	all.Wait()
	requests := 0
	for what, n := range counts {
		if strings.Contains(what, "failed") {
			t.Errorf("%d times %s", n, what)
		}
		requests += n
	}
	t.Logf("%d namespaces, %d requests: %v", namespaces, requests, counts)
}
