package policy

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// situation is one product, ABI, trigger, user and configuration.
type situation struct {
	product  product.Product
	trigger  product.Trigger
	abi      report.ABI
	run      Run
	settings *report.Settings // of the one configuration file; nil: unknown
}

func (s situation) String() string {
	user := map[User]string{UserOfImage: "unknown user", UserRoot: "root", UserNonRoot: "non-root"}[s.run.User]
	configuration, words := "configuration unknown", ""
	if s.settings != nil {
		configuration = s.product.Configuration.Describe(*s.settings)
	}
	if s.run.Command != nil {
		words = ", command " + s.run.Command[0]
	}
	return fmt.Sprintf("%s since %q, %s, %s, %s%s", s.product.Name, s.trigger.Since, s.abi, user, configuration, words)
}

func (s situation) assess() assessment {
	b := &report.Binary{
		Path: "/usr/sbin/" + s.product.Name, Product: &report.Product{Name: s.product.Name}, Capset: report.Capset{ABI: s.abi},
		Trigger: &report.Trigger{When: s.trigger.When, Why: s.trigger.Why},
	}
	if s.product.Name == "" {
		b.Path, b.Product, b.Trigger = "/usr/bin/tool", nil, nil
	}
	image := &report.Report{}
	if s.settings != nil {
		s.settings.Path = "/etc/x.cfg"
		image.Settings = []report.Settings{*s.settings}
		s.run.Command = []string{s.product.Name, "-f", "/etc/x.cfg"}
	}
	return newProcess(s.run, image).assess(b)
}

// everySituation combines every product and trigger with every ABI that is a finding, user
// and configuration.
func everySituation() []situation {
	var all []situation
	for _, p := range append(product.All(), product.Product{Triggers: make([]product.Trigger, 1)}) {
		settings := []*report.Settings{nil}
		if p.Configuration != nil {
			settings = append(settings, &report.Settings{}, &report.Settings{User: true}, &report.Settings{SetCap: true},
				&report.Settings{User: true, SetCap: true})
		}
		for _, trigger := range p.Triggers {
			for _, abi := range []report.ABI{report.ABIV1, report.ABIV2, report.ABIUnknown} {
				for _, user := range []User{UserOfImage, UserRoot, UserNonRoot} {
					for _, s := range settings {
						all = append(all, situation{p, trigger, abi, Run{User: user}, s})
					}
					all = append(all, situation{p, trigger, abi, Run{User: user, Command: []string{"sleep"}}, nil})
				}
			}
		}
	}
	return all
}

// claims are words of advice or evidence, and the triggers with which they may stand.
var claims = map[string][]report.When{
	"is expected":         {report.WhenStart},
	"Until then":          {report.WhenStart},
	"window.":             {report.WhenStart},
	"at every start":      {report.WhenStart},
	"needs no action":     {report.WhenConditional},
	"does not make":       {report.WhenConditional},
	"only as root":        {report.WhenConditional},
	"call only with":      {report.WhenConditional},
	"if its `global`":     {report.WhenConditional},
	"is unknown whether":  {report.WhenUnknown},
	"if this Pod starts ": {report.WhenUnknown},
}

// TestSituations: in every situation trigger and advice are sentences that fit a warning, and
// agree with each other. The golden file lists each pair once, with its first situation.
func TestSituations(t *testing.T) {
	var golden strings.Builder
	used, listed := map[string]bool{}, map[string]bool{}
	for _, s := range everySituation() {
		got := s.assess()
		lines := got.advice
		when := report.When("none")
		if got.trigger != nil {
			when, lines = got.trigger.When, append([]string{got.trigger.Why}, lines...)
		}
		text := strings.Join(lines, "\n")
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > 250 || !strings.HasSuffix(line, ".") || strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%s: %d runes: %q", s, n, line)
			}
		}
		if len(got.advice) == 0 || (got.trigger == nil) != (s.product.Name == "") {
			t.Errorf("%s: %+v", s, got)
		}
		for claim, with := range claims {
			if s.product.Name == "" || !s.abi.Legacy() || !strings.Contains(text, claim) {
				continue
			}
			used[claim] = true
			if when != with[0] {
				t.Errorf("%s: %s, and yet it contains %q:\n%s", s, when, claim, text)
			}
		}
		if contradicts(text) {
			t.Errorf("%s contradicts itself:\n%s", s, text)
		}
		if entry := fmt.Sprintf("%s\n%s\n\n", when, text); !listed[entry] {
			listed[entry] = true
			golden.WriteString(s.String() + ": " + entry)
		}
	}
	for claim := range claims {
		if !used[claim] {
			t.Errorf("%q is in no situation", claim)
		}
	}
	const file = "testdata/situations.txt"
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), golden.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// contradicts reports whether a text both expects the message and doubts the call, or asks
// for action and for none.
func contradicts(text string) bool {
	has := func(words string) bool { return strings.Contains(text, words) }
	return has("expected") && (has("as root here") || has("does not make") || has("only as root")) ||
		has("needs no action") && (has("Upgrade to") || has("at every start")) ||
		has("Leave it") && has("needs no action")
}
