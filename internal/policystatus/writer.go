// Package policystatus writes the status of policies: whether a policy is applied,
// the reason if it is not, and the number of namespaces that it matches.
//
// No other package writes a status, and this one does not judge. Every replica
// runs it: a status depends only on the cluster, and is written only if it
// differs from the present one. Policies are any that an API server accepted.
package policystatus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policyspec"
)

const (
	// settle is the delay between a change and the update of statuses, so that one
	// update covers many changes.
	settle = time.Second
	// refresh is the interval of updates without a change: exemptions expire.
	refresh = 10 * time.Minute
	// fieldOwner is the field manager of statuses.
	fieldOwner = client.FieldOwner("capvet-status")
)

// Writer updates statuses. Its caches must be synced before its start.
type Writer struct {
	reader  client.Reader // cached
	writer  client.Client
	now     func() time.Time
	changed chan struct{}
}

// New returns a Writer that follows policies and namespaces through c, and
// writes with writer.
func New(ctx context.Context, c cache.Cache, writer client.Client, now func() time.Time) (*Writer, error) {
	w := &Writer{reader: c, writer: writer, now: now, changed: make(chan struct{}, 1)}
	handler := toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { w.wake() },
		UpdateFunc: func(old, current any) {
			if affectsStatus(old, current) {
				w.wake()
			}
		},
		DeleteFunc: func(any) { w.wake() },
	}
	for _, object := range []client.Object{&v1alpha1.ClusterCapsetPolicy{}, &v1alpha1.CapsetPolicy{}, &corev1.Namespace{}} {
		informer, err := c.GetInformer(ctx, object)
		if err == nil {
			_, err = informer.AddEventHandler(handler)
		}
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", object, err)
		}
	}
	return w, nil
}

// affectsStatus reports whether an update can change a status. An update of a
// status itself cannot.
func affectsStatus(old, current any) bool {
	before, ok1 := old.(client.Object)
	after, ok2 := current.(client.Object)
	return !ok1 || !ok2 || before.GetGeneration() != after.GetGeneration() ||
		!equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels())
}

func (w *Writer) wake() {
	select {
	case w.changed <- struct{}{}:
	default: // an update is due already
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica runs
// a Writer.
func (*Writer) NeedLeaderElection() bool { return false }

// Start writes statuses until ctx ends.
func (w *Writer) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.changed:
		case <-time.After(refresh):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		if err := w.writeAll(ctx); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "cannot write the status of policies; trying again later")
			w.wake()
		}
	}
}

func (w *Writer) writeAll(ctx context.Context) error {
	var cluster v1alpha1.ClusterCapsetPolicyList
	var own v1alpha1.CapsetPolicyList
	var namespaces corev1.NamespaceList
	for _, list := range []client.ObjectList{&cluster, &own, &namespaces} {
		// A copy of every object at a time would take as much memory again. They are read only.
		if err := w.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("listing %T: %w", list, err)
		}
	}
	now := w.now()
	var failed []error // an error does not stop the other updates
	for i := range cluster.Items {
		p := &cluster.Items[i]
		status := OfClusterPolicy(p, namespaces.Items, now)
		failed = append(failed, w.write(ctx, "ClusterCapsetPolicy", p, &p.Status, &status))
	}
	over := overBudget(own.Items)
	for i := range own.Items {
		p := &own.Items[i]
		status := OfPolicy(p, over[client.ObjectKeyFromObject(p)], now)
		failed = append(failed, w.write(ctx, "CapsetPolicy", p, &p.Status, &status))
	}
	return errors.Join(failed...)
}

// write writes the status of p, unless it is the present one.
func (w *Writer) write(ctx context.Context, kind string, p client.Object, present, status any) error {
	if equality.Semantic.DeepEqual(present, status) {
		return nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": content}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetName(p.GetName())
	object.SetNamespace(p.GetNamespace())
	object.SetUID(p.GetUID()) // so that a policy that was deleted in the meantime is not created again
	err = w.writer.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object), fieldOwner, client.ForceOwnership)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status of %s %s: %w", kind, client.ObjectKeyFromObject(p), err)
	}
	return nil
}

// OfClusterPolicy returns the status of p, given all namespaces.
func OfClusterPolicy(p *v1alpha1.ClusterCapsetPolicy, namespaces []corev1.Namespace, now time.Time) v1alpha1.ClusterCapsetPolicyStatus {
	compiled, err := policyspec.CompileCluster(p)
	matched := int32(0)
	if err == nil {
		for i := range namespaces {
			if compiled.Namespaces.Matches(labels.Set(namespaces[i].Labels)) {
				matched++
			}
		}
	}
	ready := readiness(err, p.Spec.Exemptions, now)
	if err == nil && matched == 0 {
		ready.Reason, ready.Message = v1alpha1.ReasonNoNamespace, "applied, but no namespace matches spec.namespaceSelector"
	}
	return v1alpha1.ClusterCapsetPolicyStatus{
		MatchedNamespaces:  &matched,
		CapsetPolicyStatus: status(p.Status.CapsetPolicyStatus, p.Generation, ready, now),
	}
}

// overBudget returns the errors of the policies that exceed their namespace's budget.
func overBudget(policies []v1alpha1.CapsetPolicy) map[client.ObjectKey]error {
	shares := map[string][]policyspec.Share{} // by namespace
	for i := range policies {
		p := &policies[i]
		if _, err := policyspec.CompileNamespaced(p); err == nil {
			shares[p.Namespace] = append(shares[p.Namespace], policyspec.ShareOf(p.Name, p))
		}
	}
	over := map[client.ObjectKey]error{}
	for namespace, shares := range shares {
		for name, err := range policyspec.OverBudget(shares) {
			over[client.ObjectKey{Namespace: namespace, Name: name}] = err
		}
	}
	return over
}

// OfPolicy returns the status of p. over is its error if it exceeds its namespace's budget.
func OfPolicy(p *v1alpha1.CapsetPolicy, over error, now time.Time) v1alpha1.CapsetPolicyStatus {
	_, err := policyspec.CompileNamespaced(p)
	return status(p.Status, p.Generation, readiness(cmp.Or(err, over), p.Spec.Exemptions, now), now)
}

// maxMessage is the approximate limit of a condition's message in bytes. The API
// server's limit is 32,768, and names in a policy can be longer than that.
const maxMessage = 1 << 10

func shortened(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// readiness returns the condition Ready.
func readiness(broken error, exemptions []v1alpha1.Exemption, now time.Time) metav1.Condition {
	if broken != nil {
		return metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBroken,
			Message: shortened("not applied: " + broken.Error()),
		}
	}
	message, expired := "applied", 0
	for _, e := range exemptions {
		if e.Expires != nil && !now.Before(e.Expires.Time) {
			expired++
			message = fmt.Sprintf("applied; %d of %d exemptions have expired and no longer apply", expired, len(exemptions))
		}
	}
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonApplied, Message: message}
}

// status returns a status with the condition ready. Its transition time is that of
// current if the condition's status is the same.
func status(current v1alpha1.CapsetPolicyStatus, generation int64, ready metav1.Condition, now time.Time) v1alpha1.CapsetPolicyStatus {
	ready.ObservedGeneration = generation
	ready.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	if before := apimeta.FindStatusCondition(current.Conditions, ready.Type); before != nil && before.Status == ready.Status {
		ready.LastTransitionTime = before.LastTransitionTime
	}
	return v1alpha1.CapsetPolicyStatus{ObservedGeneration: generation, Conditions: []metav1.Condition{ready}}
}
