//go:build integration

package scheduler

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// clusters is how many random clusters are compared, podsPerCluster how many random
// Pods each gets.
const clusters, podsPerCluster = 100, 40

// cluster is a request to tools/scheduler.
type cluster struct {
	Nodes []*corev1.Node `json:"nodes"`
	Pods  []*corev1.Pod  `json:"pods"`
}

// answer is tools/scheduler's answer.
type answer struct {
	Invalid string
	Pods    []podAnswer
}

type podAnswer struct {
	Invalid string   // why an API server does not take the Pod
	Nodes   []string // that the scheduler takes for it
	Daemons map[string]struct {
		Spec      corev1.PodSpec // of the Pod that a DaemonSet's controller makes for this node
		Scheduled bool
	}
}

// TestPlacement compares with kube-scheduler's own filter plugins and with the
// DaemonSet controller. Tolerations with comparison operators need a feature gate,
// in the API server and in the scheduler.
func TestPlacement(t *testing.T) {
	program, seed := program(t), seedOf(t)
	t.Logf("seed %d; CAPVET_SCHEDULER_SEED sets another", seed)
	t.Run("default gates", func(t *testing.T) { compare(t, program, seed, "", false) })
	t.Run("tolerations may compare", func(t *testing.T) {
		compare(t, program, seed+clusters, "TaintTolerationComparisonOperators=true", true)
	})
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("CAPVET_SCHEDULER_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatalf("CAPVET_SCHEDULER_SEED is no number: %v", err)
	}
	return seed
}

func compare(t *testing.T, program string, seed uint64, gates string, mayCompare bool) {
	var views []*view
	var asked []cluster
	for i := range uint64(clusters) {
		v := newView(NewRandom(seed + i))
		views = append(views, v)
		asked = append(asked, cluster{v.nodes, v.pods}, cluster{v.settled, v.pods})
	}
	answers := ask(t, program, gates, asked)
	pods, invalid, held := 0, 0, 0
	compared := map[string]map[int]int{} // by relation and by how many architectures were possible
	broken := map[string]int{}
	for i, v := range views {
		now, settled := answers[2*i], answers[2*i+1]
		if now.Invalid != "" || settled.Invalid != "" {
			t.Fatalf("seed %d: nodes that no API server takes: %s%s", seed+uint64(i), now.Invalid, settled.Invalid)
		}
		for j, pod := range v.pods {
			pods++
			e := &example{view: v, pod: pod, now: now.Pods[j], settled: settled.Pods[j]}
			if e.now.Invalid != "" {
				invalid++
				if !Compares(pod) || mayCompare {
					t.Errorf("seed %d: a Pod that no API server takes: %s", seed+uint64(i), e.now.Invalid)
				}
				continue
			}
			if Compares(pod) && !mayCompare {
				t.Errorf("seed %d: an API server without the feature gate takes tolerations that compare", seed+uint64(i))
			}
			if len(e.now.Nodes) < len(e.settled.Nodes) {
				held++
			}
			for _, relation := range relations() {
				for _, b := range relation.of(e) {
					if compared[relation.name] == nil {
						compared[relation.name] = map[int]int{}
					}
					compared[relation.name][len(b.got)]++
					if b.hold() {
						continue
					}
					if broken[relation.name]++; broken[relation.name] == 1 { // one of a kind is enough to read
						t.Errorf("seed %d, %s: capvet says %v, want at least %v, at most %v\n%s", seed+uint64(i), relation.name, b.got, b.atLeast, b.atMost,
							e)
					}
				}
			}
		}
	}
	t.Logf("%d Pods, of which %d are not valid without the feature gate and %d are kept off some node for a while", pods, invalid, held)
	if invalid > pods/5 || held < pods/5 {
		t.Error("too few Pods were compared, or kept off some node for a while: the test proves little")
	}
	for _, relation := range relations() {
		counts := compared[relation.name]
		t.Logf("%-45s by how many architectures were possible: %v, broken: %d", relation.name, counts, broken[relation.name])
		for _, n := range relation.outcomes {
			if counts[n] < 20 {
				t.Errorf("%s: only %d Pods could land on %d architectures: the test proves little", relation.name, counts[n], n)
			}
		}
	}
}

// program returns tools/scheduler, or ends the test.
func program(t *testing.T) string {
	t.Helper()
	tools := os.Getenv("CAPVET_SCHEDULER_TOOLS")
	if tools == "" {
		const why = "CAPVET_SCHEDULER_TOOLS is not set: run make test-integration, which builds what it names"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return filepath.Join(tools, "scheduler")
}

// ask runs tools/scheduler on clusters.
func ask(t *testing.T, program, gates string, clusters []cluster) []answer {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, c := range clusters {
		if err := json.NewEncoder(&in).Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), program, "-feature-gates", gates)
	command.Stdin, command.Stderr = &in, &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var answers []answer
	for read := json.NewDecoder(bytes.NewReader(out)); ; {
		var a answer
		if err := read.Decode(&a); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(clusters) {
		t.Fatalf("%d clusters, and answers about %d", len(clusters), len(answers))
	}
	return answers
}
