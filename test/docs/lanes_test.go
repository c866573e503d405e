package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestEveryLaneIsAJob: the CI workflow runs the same make targets, with the same
// arguments, as .ci/run, each in a job with a timeout, in the Dockerfile's builder.
func TestEveryLaneIsAJob(t *testing.T) {
	root := filepath.Join("..", "..")
	makefile := read(t, root, "Makefile")
	var lanes []string
	for _, match := range regexp.MustCompile(`(?m)^.*\blane make (.+)$`).FindAllStringSubmatch(read(t, root, ".ci", "run"), -1) {
		for _, word := range strings.Fields(match[1]) {
			lanes = append(lanes, expand(makefile, word)...)
		}
	}
	var workflow struct {
		Jobs map[string]struct {
			Timeout   string `json:"timeout-minutes"`
			Container struct{ Image string }
			Strategy  struct {
				Matrix struct {
					Include []struct {
						Lane, Make string
						Minutes    int
					}
				}
			}
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, root, ".github", "workflows", "ci.yaml")), &workflow); err != nil {
		t.Fatal(err)
	}
	job := workflow.Jobs["lane"]
	if !slices.Contains(job.Steps, struct{ Run string }{"make ${{ matrix.make }}"}) {
		t.Error("no step runs make ${{ matrix.make }}")
	}
	if job.Timeout != "${{ matrix.minutes }}" {
		t.Errorf("the timeout is %q", job.Timeout)
	}
	if image := job.Container.Image; image == "" || !strings.Contains(read(t, root, "Dockerfile"), "ARG GO_IMAGE="+image+"\n") {
		t.Errorf("the Dockerfile does not build with %q", image)
	}
	var jobs []string
	for _, lane := range job.Strategy.Matrix.Include {
		jobs = append(jobs, strings.Fields(lane.Make)...)
		if lane.Minutes == 0 {
			t.Errorf("job %s has no timeout", lane.Lane)
		}
	}
	slices.Sort(lanes)
	slices.Sort(jobs)
	if diff := cmp.Diff(lanes, jobs); diff != "" || len(lanes) < 10 {
		t.Errorf("the lanes of .ci/run (-) and the jobs (+) differ: %s", diff)
	}
}

// expand returns the prerequisites of a make target without a recipe, and every
// other word as it is.
func expand(makefile, word string) []string {
	rule := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(word) + `: ([a-z- ]+) ##.*\n([^\t]|$)`)
	if match := rule.FindStringSubmatch(makefile); match != nil {
		return strings.Fields(match[1])
	}
	return []string{word}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
