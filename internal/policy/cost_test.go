package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/internal/report"
)

func rejecting(name string, exemptions ...Exemption) Policy {
	return Policy{Name: name, Namespaces: labels.Everything(), Pods: labels.Everything(), Architectures: []string{"amd64", "arm64"},
		Action: ActionReject, OnUnknown: ActionReject, ScanErrorDefault: ActionReject, Workloads: ActionWarn, Exemptions: exemptions}
}

// faulty returns an image with n binaries at fault that runs these words.
func faulty(n int, words ...string) Image {
	r := report.New()
	for i := range n {
		b := triggered("haproxy", report.WhenStart)
		b.Path = fmt.Sprintf("/usr/bin/other%d", i)
		r.Binaries = append(r.Binaries, *b)
	}
	return Image{Reference: "i", Name: "i", Architecture: "arm64", Report: &r, Run: Run{Command: words, User: UserNonRoot}}
}

// TestExemptionCost: an image costs at most one step for each byte of all patterns and each
// 64 bytes of the longest name. With the bounds of a namespace's policies (64 KiB, see
// policyspec) and of a Pod (256 images, see judge) these are 218 million steps: some tenths of
// a second, and no need of a deadline.
func TestExemptionCost(t *testing.T) {
	const text, images = 64 << 10, 256
	patterns := slices.Repeat([]string{strings.Repeat("**a*a", 100) + "b"}, text/501)
	names := newGlobs(strings.Repeat("a", MaxName))
	p := rejecting("p", Exemption{Images: patterns})
	if p.exemptionOf(time.Time{}, &names) != nil {
		t.Fatal("it is exempt")
	}
	if bound := text * (MaxName/64 + 1); names.steps > bound || names.steps < bound/2 || bound*images > 220e6 {
		t.Errorf("%d steps, the bound is %d", names.steps, bound)
	}
	// Once determined, exemptions hold for every architecture and evaluation.
	image := faulty(1, "haproxy")
	image.Exempting = map[string]*Exemption{"p": {Reason: "r"}}
	other := rejecting("p", Exemption{Images: []string{"other"}})
	if d := Evaluate(time.Time{}, []Policy{other}, []Image{image}); len(d.Exempted) != 1 {
		t.Errorf("exemptions are determined again: %+v", d)
	}
	determined := []Image{{Name: "i"}, {Name: "j"}}
	Exempt(time.Time{}, []Policy{rejecting("p", Exemption{Images: []string{"i"}})}, determined)
	if len(determined[0].Exempting) != 1 || determined[1].Exempting == nil || len(determined[1].Exempting) != 0 {
		t.Errorf("got %+v", determined)
	}
}

// TestPoliciesShareFaults: the faults of an image are found once, however many policies judge
// it.
func TestPoliciesShareFaults(t *testing.T) {
	images := []Image{faulty(100, slices.Repeat([]string{"exec haproxy"}, 1000)...)}
	allocations := func(n int) float64 {
		var policies []Policy
		for i := range n {
			policies = append(policies, rejecting(fmt.Sprintf("p%02d", i)))
		}
		return testing.AllocsPerRun(5, func() { Evaluate(time.Time{}, policies, images) })
	}
	if one, many := allocations(1), allocations(64); many > one+32 { // the race detector adds some
		t.Errorf("%.0f allocations for one policy, %.0f for 64", one, many)
	}
}

// TestBinariesShareWords: the words that a container runs are taken apart once, however many
// binaries the image has. A long one is not repeated in each explanation.
func TestBinariesShareWords(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		image := faulty(n, strings.Repeat("x", 1<<20), "haproxy")
		image.Report.Binaries[0].Product, image.Report.Binaries[0].Path = nil, "/usr/bin/unnamed"
		shared := image.Run.assessor(image.Report)
		why := 0
		var line *commandLine
		for i := range image.Report.Binaries {
			why += len(shared.assess(&image.Report.Binaries[i]).trigger.Why)
			if line != nil && shared.line != line {
				t.Errorf("%d binaries: the words are taken apart again", n)
			}
			line = shared.line
		}
		if why > n<<10 {
			t.Errorf("%d binaries: %d bytes of explanations", n, why)
		}
	}
}

// TestFindingsAreBounded: a decision keeps the worst findings and counts the others.
func TestFindingsAreBounded(t *testing.T) {
	var images []Image
	for i := range 20 {
		images = append(images, faulty(250, "haproxy"))
		if i < 19 {
			images[i].Report = nil
			images = append(images, faulty(250, "haproxy"))
		}
	}
	images = append(images, faulty(1, "haproxy"))
	p := rejecting("p")
	p.Action = ActionWarn
	d := Evaluate(time.Time{}, []Policy{p}, images)
	total := 0
	for _, image := range images {
		total += len(faultsOf(image))
	}
	rejected := slices.IndexFunc(d.Findings, func(f Finding) bool { return f.Action != ActionReject })
	if d.Action != ActionReject || len(d.Findings) != maxFindings || cap(d.Findings) > maxFindings+maxFindings/4 ||
		d.Omitted != total-maxFindings || rejected != 19 {
		t.Errorf("%v: %d findings, %d of them Reject, %d omitted of %d", d.Action, len(d.Findings), rejected, d.Omitted, total)
	}
}
