// Command scheduler returns the nodes for a Pod, by kube-scheduler's own filter
// plugins for labels, affinity, taints and names, and, with the Pod as a template,
// by the DaemonSet controller. Tests compare capvet's results for the same Pods
// and nodes.
//
// usage: scheduler [-feature-gates NAME=true,...]
//
// It reads clusters from its input as JSON and answers each with one line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/controller/daemon"
	daemonutil "k8s.io/kubernetes/pkg/controller/daemon/util"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultbinder"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodename"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeunschedulable"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/queuesort"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	"k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// cluster is a request: Pods, and all nodes of their cluster.
type cluster struct {
	Nodes []*corev1.Node `json:"nodes"`
	Pods  []*corev1.Pod  `json:"pods"`
}

// answer is the answer for a cluster. Invalid is an API server's reason to refuse
// one of the nodes; the other fields are then empty.
type answer struct {
	Invalid string      `json:"invalid,omitempty"`
	Pods    []podAnswer `json:"pods"`
}

// podAnswer is the answer for one Pod. Invalid is an API server's reason to refuse
// it, or a DaemonSet with it as a template.
type podAnswer struct {
	Invalid string `json:"invalid,omitempty"`
	// Nodes are the nodes that pass the scheduler's filters.
	Nodes []string `json:"nodes"`
	// Daemons are the Pods that the DaemonSet controller would create from it as a
	// template, by node, and whether the scheduler accepts that node.
	Daemons map[string]daemonPod `json:"daemons"`
}

type daemonPod struct {
	Spec      corev1.PodSpec `json:"spec"`
	Scheduled bool           `json:"scheduled"`
}

func main() {
	gates := flag.String("feature-gates", "", "feature gates to set, as of kube-scheduler")
	flag.Parse()
	if err := run(context.Background(), *gates, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, gates string, in io.Reader, out io.Writer) error {
	ctx = klog.NewContext(ctx, klog.Logger{}) // discards: a taint whose value is no number is logged as an error
	if err := utilfeature.DefaultMutableFeatureGate.Set(gates); err != nil {
		return err
	}
	metrics.Register()
	snapshot := &lister{}
	scheduler, err := newScheduler(ctx, snapshot)
	if err != nil {
		return err
	}
	read, write := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var asked cluster
		if err := read.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		snapshot.Snapshot = cache.NewSnapshot(nil, asked.Nodes)
		answered, err := answerFor(ctx, scheduler, asked)
		if err != nil {
			return err
		}
		if err := write.Encode(answered); err != nil {
			return err
		}
	}
}

// lister is the snapshot of the current request's cluster.
type lister struct{ *cache.Snapshot }

// newScheduler returns the scheduler's framework with the filter plugins for names,
// labels, affinity and taints. A framework must also have plugins that sort and
// bind; they never run.
func newScheduler(ctx context.Context, nodes fwk.SharedLister) (framework.Framework, error) {
	features := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	registry := runtime.Registry{
		names.PrioritySort:      queuesort.New,
		names.NodeUnschedulable: runtime.FactoryAdapter(features, nodeunschedulable.New),
		names.NodeName:          runtime.FactoryAdapter(features, nodename.New),
		names.TaintToleration:   runtime.FactoryAdapter(features, tainttoleration.New),
		names.NodeAffinity:      runtime.FactoryAdapter(features, nodeaffinity.New),
		names.DefaultBinder:     defaultbinder.New,
	}
	filters := config.PluginSet{Enabled: []config.Plugin{{Name: names.NodeUnschedulable}, {Name: names.NodeName},
		{Name: names.TaintToleration}, {Name: names.NodeAffinity}}}
	profile := &config.KubeSchedulerProfile{
		SchedulerName: corev1.DefaultSchedulerName,
		Plugins: &config.Plugins{
			QueueSort: config.PluginSet{Enabled: []config.Plugin{{Name: names.PrioritySort}}},
			PreFilter: filters,
			Filter:    filters,
			Bind:      config.PluginSet{Enabled: []config.Plugin{{Name: names.DefaultBinder}}},
		},
		PluginConfig: []config.PluginConfig{{Name: names.NodeAffinity, Args: &config.NodeAffinityArgs{}}},
	}
	return runtime.NewFramework(ctx, registry, profile, runtime.WithSnapshotSharedLister(nodes))
}

func answerFor(ctx context.Context, scheduler framework.Framework, asked cluster) (answer, error) {
	var answered answer
	for _, node := range asked.Nodes {
		if err := validateNode(node); err != nil {
			return answer{Invalid: err.Error()}, nil
		}
	}
	for _, pod := range asked.Pods {
		if err := validatePod(pod); err != nil {
			answered.Pods = append(answered.Pods, podAnswer{Invalid: err.Error()})
			continue
		}
		nodes, err := schedulable(ctx, scheduler, pod)
		if err != nil {
			return answer{}, err
		}
		daemons, err := daemonPods(ctx, scheduler, asked.Nodes, pod)
		if err != nil {
			return answer{}, err
		}
		answered.Pods = append(answered.Pods, podAnswer{Nodes: nodes, Daemons: daemons})
	}
	return answered, nil
}

// schedulable returns the names of the nodes that pass the scheduler's filters for
// a Pod, as findNodesThatFitPod of pkg/scheduler does.
func schedulable(ctx context.Context, scheduler framework.Framework, pod *corev1.Pod) ([]string, error) {
	state := framework.NewCycleState()
	only, status, _ := scheduler.RunPreFilterPlugins(ctx, state, pod)
	if status.IsRejected() {
		return nil, nil
	}
	if !status.IsSuccess() {
		return nil, status.AsError()
	}
	all, err := scheduler.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		return nil, err
	}
	var accepted []string
	for _, info := range all {
		name := info.Node().Name
		if !only.AllNodes() && !only.NodeNames.Has(name) {
			continue
		}
		status := scheduler.RunFilterPlugins(ctx, state, pod, info)
		if status.Code() == fwk.Error {
			return nil, status.AsError()
		}
		if status.IsSuccess() {
			accepted = append(accepted, name)
		}
	}
	return accepted, nil
}

// daemonPods returns the Pods that the controller would make of a DaemonSet whose
// template is a Pod's, by the nodes that they are for.
func daemonPods(ctx context.Context, scheduler framework.Framework, nodes []*corev1.Node, pod *corev1.Pod) (map[string]daemonPod, error) {
	set := daemonSetOf(pod)
	made := map[string]daemonPod{}
	for _, node := range nodes {
		if should, _ := daemon.NodeShouldRunDaemonPod(klog.FromContext(ctx), node, set); !should {
			continue
		}
		template := daemonutil.CreatePodTemplate(set.Spec.Template, nil, "")
		template.Spec.Affinity = daemonutil.ReplaceDaemonSetPodNodeNameNodeAffinity(template.Spec.Affinity, node.Name)
		accepted, err := schedulable(ctx, scheduler, &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec})
		if err != nil {
			return nil, err
		}
		made[node.Name] = daemonPod{Spec: template.Spec, Scheduled: len(accepted) == 1 && accepted[0] == node.Name}
	}
	return made, nil
}

func daemonSetOf(pod *corev1.Pod) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: *pod.Spec.DeepCopy()},
		},
	}
}
