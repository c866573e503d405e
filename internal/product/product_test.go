package product

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

func TestCompare(t *testing.T) {
	ascending := []string{
		"1.13.8", "2.8.0", "2.9-dev4", "2.9-dev5", "2.9-dev10", "2.9-rc1", "2.9.0", "3.0-dev6", "3.0-dev7-a1b2c3", "3.0.0", "3.0.11-1+deb13u4",
		"3.1-dev1", "3.1-dev2", "3.1.0", "3.2.26-1", "3.5-dev1",
	}
	for i := range ascending {
		for j := range ascending {
			a, okA := ParseVersion(ascending[i])
			b, okB := ParseVersion(ascending[j])
			if !okA || !okB {
				t.Fatalf("%s, %s: not versions", ascending[i], ascending[j])
			}
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", ascending[i], ascending[j], got)
			}
		}
	}
	for _, same := range [][2]string{{"3.0", "3.0.0"}, {"3.0.11-1+deb13u4", "3.0.11"}, {"3.0.0-1.0.0-346.512", "3.0.0"}} {
		a, _ := ParseVersion(same[0])
		b, _ := ParseVersion(same[1])
		if a.Compare(b) != 0 {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	for _, bad := range []string{"", "3", "x3.0", "3.", "v3.0", ".."} {
		if v, ok := ParseVersion(bad); ok {
			t.Errorf("%q is taken for %v", bad, v)
		}
	}
}

func TestExpected(t *testing.T) {
	byName := map[string]Product{}
	for _, p := range All() {
		byName[p.Name] = p
	}
	type expectation struct {
		product, version string
		want             report.ABI
	}
	expected := []expectation{
		{"haproxy", "2.6.12-1+deb12u3", report.ABINone},
		{"haproxy", "2.8.2", report.ABINone},
		{"haproxy", "2.8.3-dev1", report.ABINone},
		{"haproxy", "2.8.3", report.ABIV1},
		{"haproxy", "2.8.15", report.ABIV1},
		{"haproxy", "2.8.26-1~bpo12+1", report.ABIV1},
		{"haproxy", "2.9-dev0", report.ABINone},
		{"haproxy", "2.9-dev4", report.ABINone},
		{"haproxy", "2.9-dev5", report.ABIV1},
		{"haproxy", "2.9.0", report.ABIV1},
		{"haproxy", "3.0.11-1+deb13u4", report.ABIV1},
		{"haproxy", "3.1-dev1", report.ABIV1},
		{"haproxy", "3.1-dev2", report.ABIV3},
		{"haproxy", "3.2.26-1", report.ABIV3},
		{"haproxy", "3.5-dev0", report.ABIV3},
		{"nginx", "1.13.7", report.ABINone},
		{"nginx", "1.13.8", report.ABIV1},
		{"nginx", "1.31.0", report.ABIV1},
		{"openresty", "1.25.3.1", report.ABIV1},
		{"tengine", "2.2.3", report.ABINone},
		{"tengine", "3.1.0", report.ABIV1},
		{"angie", "1.5.0", report.ABIV1},
		{"freenginx", "1.27.1", report.ABIV1},
	}
	for _, c := range expected {
		got, ok := byName[c.product].Expected(c.version)
		if !ok || got != c.want {
			t.Errorf("%s %s: %s, want %s", c.product, c.version, got, c.want)
		}
	}
	for _, p := range All() {
		if !slices.ContainsFunc(expected, func(e expectation) bool { return e.product == p.Name }) {
			t.Errorf("no version of %s is tried", p.Name)
		}
	}
	if got, ok := byName["haproxy"].Expected("unreleased"); ok {
		t.Errorf("no version is expected to use %s", got)
	}
}

// TestAll checks the rules for every product's data.
func TestAll(t *testing.T) {
	for _, p := range All() {
		if p.Name != strings.ToLower(p.Title) || len(p.Executables) == 0 || len(p.Hints)+len(p.Words) == 0 ||
			len(p.Markers) == 0 || len(p.Functions) == 0 || len(p.Ranges) == 0 || len(p.Triggers) == 0 {
			t.Errorf("%s lacks something", p.Name)
		}
		if got, ok := Lookup(p.Name); !ok || got.Title != p.Title {
			t.Errorf("%s is not found", p.Name)
		}
		testTriggers(t, p)
		if p.Ranges[0].From != "" || p.Ranges[len(p.Ranges)-1].Before != "" {
			t.Errorf("%s: the ranges leave out an end", p.Name)
		}
		for i := 1; i < len(p.Ranges); i++ {
			if p.Ranges[i].From != p.Ranges[i-1].Before {
				t.Errorf("%s: a gap before %s", p.Name, p.Ranges[i].From)
			}
			before, ends := ParseVersion(p.Ranges[i].Before)
			if from, ok := ParseVersion(p.Ranges[i].From); !ok || ends && from.Compare(before) >= 0 {
				t.Errorf("%s: %s does not come before %s", p.Name, p.Ranges[i].From, p.Ranges[i].Before)
			}
		}
		for _, k := range p.Markers {
			if len(k.Text)+maxVersion > Overlap || len(k.Also) > Overlap {
				t.Errorf("%s: marker %q does not fit the overlap", p.Name, k.Text)
			}
		}
		for _, e := range p.Executables {
			if !IsExecutable(e) {
				t.Errorf("%s is not taken for an executable", e)
			}
		}
	}
	if IsExecutable("halog") || IsExecutable("/usr/sbin/haproxy") {
		t.Error("too much is taken for an executable")
	}
}

func TestHinted(t *testing.T) {
	for text, want := range map[string]bool{
		"docker.io/library/haproxy:3.0":            true,
		"registry.k8s.io/ingress-NGINX/controller": true,
		"HAPROXY_VERSION=3.0.11":                   true,
		"openresty/openresty:alpine":               true,
		"docker.angie.software/angie:1.5":          true,
		"kong/kong-gateway:3":                      true,
		"apache/apisix:3":                          true,
		"hongkong/app":                             false,
		"tangier/postgres":                         false,
		"library/redis:7":                          false,
		"":                                         false,
	} {
		if got := Hinted(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// features is a list of build features as HAProxy's Makefile writes it.
const features = "-51DEGREES +ACCEPT4 +BACKTRACE +CPU_AFFINITY +DL +EPOLL -KQUEUE -LINUX_CAP +LINUX_SPLICE +LINUX_TPROXY -LUA +NS +POLL " +
	"+PRCTL +RT +TFO +THREAD"

func TestMatcher(t *testing.T) {
	const head = "\x003.0.11, released 2026/01/02\x00HAProxy\x00"
	matched := map[string]bool{}
	for _, c := range []struct {
		name, data            string
		wantName, wantVersion string
		wantFeature           byte
	}{
		{"haproxy", "\x003.0.11-1+deb13u4, released 2026/01/02\x00HAProxy version %s\x00" + features + "\x00", "haproxy",
			"3.0.11-1+deb13u4", '-'},
		{"haproxy with the feature", "\x002.9-dev5, released 2023/09/08\x00the HAProxy team\x00 " + strings.ReplaceAll(features, "-L", "+L"),
			"haproxy", "2.9-dev5", '+'},
		{"a word of the list alone", head + "-LINUX_CAP\x00", "haproxy", "3.0.11", 0},
		{"a short list", head + "+EPOLL -LINUX_CAP +TLS\x00", "haproxy", "3.0.11", 0},
		{"a list out of order", head + "+THREAD " + features, "haproxy", "3.0.11", 0},
		{"other words in the list", head + strings.ReplaceAll(features, "+", ""), "haproxy", "3.0.11", 0},
		{"two lists", head + features + "\x00" + strings.ReplaceAll(features, "-L", "+L"), "haproxy", "3.0.11", '+'},
		{"a list behind its title", head + "Feature list : " + features + "\n", "haproxy", "3.0.11", '-'},
		{"another program that was released", "\x003.0.1, released 2026/01/02\x00", "", "", 0},
		{"nginx", "\x00nginx version: nginx/1.22.1\n\x00", "nginx", "1.22.1", 0},
		{"openresty", "\x00nginx version: openresty/1.25.3.1\n\x00", "openresty", "1.25.3.1", 0},
		{"tengine", "Tengine version: Tengine/3.1.0\x00nginx version: nginx/1.24.0\x00", "tengine", "3.1.0", 0},
		{"angie", "Angie version: Angie/1.5.0\x00", "angie", "1.5.0", 0},
		{"freenginx", "freenginx version: freenginx/1.27.1\x00", "freenginx", "1.27.1", 0},
		{"a format without a version", "nginx version: nginx/%s\x00", "", "", 0},
		{"nothing", "\x00\x00", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMatcher()
			m.Chunk([]byte(c.data))
			got, ok := m.Result()
			if ok != (c.wantName != "") || got.Product.Name != c.wantName || got.Version != c.wantVersion || got.Feature != c.wantFeature {
				t.Errorf("got %s %s %q", got.Product.Name, got.Version, got.Feature)
			}
			matched[got.Product.Name] = true
		})
	}
	for _, p := range All() {
		if !matched[p.Name] {
			t.Errorf("no text of %s is tried", p.Name)
		}
	}
}

// TestDocsNameProducts: docs/accuracy.md names every product.
func TestDocsNameProducts(t *testing.T) {
	page, err := os.ReadFile("../../docs/accuracy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range All() {
		if !strings.Contains(strings.ToLower(string(page)), p.Name) {
			t.Errorf("docs/accuracy.md does not name %s", p.Title)
		}
	}
}

// maxLine is the longest warning, in runes (wording.Lines).
const maxLine = 250

// testTriggers checks the rules for every product's triggers and advice.
func testTriggers(t *testing.T, p Product) {
	t.Helper()
	sentence := func(of, text string) {
		t.Helper()
		if n := utf8.RuneCountInString(text); n < 20 || n > maxLine || !strings.HasSuffix(text, ".") || strings.ContainsFunc(text,
			unicode.IsControl) {
			t.Errorf("%s: %s is not a sentence of at most %d runes: %q", p.Name, of, maxLine, text)
		}
	}
	for name, lines := range map[string][]string{
		"Start": p.Advice.Start, "Conditional": p.Advice.Conditional, "Dormant": p.Advice.Dormant, "Unstarted": p.Advice.Unstarted,
		"UnknownABI": p.Advice.UnknownABI,
	} {
		if len(lines) == 0 {
			t.Errorf("%s has no advice for %s", p.Name, name)
		}
		for _, line := range lines {
			sentence("the advice "+name, line)
		}
	}
	for i, trigger := range p.Triggers {
		sentence("Why", trigger.Why)
		if trigger.When != report.WhenStart && trigger.When != report.WhenConditional || !strings.HasPrefix(trigger.Why, p.Title+" ") {
			t.Errorf("%s: trigger %d: %s: %s", p.Name, i, trigger.When, trigger.Why)
		}
		if since, ok := ParseVersion(trigger.Since); ok != (i > 0) {
			t.Errorf("%s: trigger %d begins with %v", p.Name, i, since)
		}
		for _, c := range []Condition{trigger.Root, trigger.NonRoot} {
			directives := slices.Concat(c.Requires, c.Excludes)
			if (c.Text != "") != (len(directives) > 0) || c.Never && len(directives) > 0 || len(c.Requires) > 0 && len(c.Excludes) > 0 {
				t.Errorf("%s: trigger %d: condition %+v", p.Name, i, c)
			}
			if c.Note != "" {
				sentence("Note", c.Note)
				sentence("the advice with the note", p.Advice.AtStart(c)[0])
			}
			for _, d := range directives {
				if (d.In != nil) != (p.Configuration != nil) {
					t.Errorf("%s: directive %s can be read: %v", p.Name, d.Text, d.In != nil)
				}
			}
		}
	}
}

// TestLegacy: the advice is about the reader's own situation alone.
func TestLegacy(t *testing.T) {
	start := Found{Version: "3.0.11", Calls: []report.Call{{Syscall: "capget"}}}
	older := Found{Version: "2.9.15", Calls: []report.Call{{Syscall: "capset"}}}
	for _, tt := range []struct {
		name       string
		advice     string
		has, hasNo []string
	}{
		{"HAProxy at every start", haproxy().Legacy(start),
			[]string{"HAProxy 3.2 LTS at your next maintenance window. If you upgraded from 2.8 LTS, this message is expected.",
				"harmless", "Test environments"}, []string{"setcap"}},
		{"HAProxy with a configuration", haproxy().Legacy(older),
			[]string{"HAProxy 3.2 LTS at your next maintenance window if its `global` section has both `user`/`uid` and `setcap`.",
				"harmless"}, []string{"2.8", "expected"}},
		{"nginx", nginx().Legacy(Found{}), []string{"harmless", "transparent bind", "No release"}, []string{"LTS"}},
		{"Angie", angie().Legacy(Found{}), []string{"No release of Angie"}, []string{"nginx"}},
		{"another program", OtherLegacy, []string{"harmless", "version 3"}, []string{"LTS", "release"}},
	} {
		for _, text := range tt.has {
			if !strings.Contains(tt.advice, text) {
				t.Errorf("%s: %q does not contain %q", tt.name, tt.advice, text)
			}
		}
		for _, text := range tt.hasNo {
			if strings.Contains(tt.advice, text) {
				t.Errorf("%s: %q contains %q", tt.name, tt.advice, text)
			}
		}
	}
	if got := strings.Join(Other().Start, " "); got != OtherLegacy {
		t.Errorf("of other programs: %q", got)
	}
}

func TestTrigger(t *testing.T) {
	capget := []report.Call{{Syscall: "capget"}, {Syscall: "capset"}}
	capset := []report.Call{{Syscall: "capset"}}
	const official, always, asRoot = "as the official images do", "as root and as non-root", "only when it is started as root"
	for _, c := range []struct {
		name  string
		p     Product
		found Found
		want  report.When
		why   string
	}{
		{"3.1 and later", haproxy(), Found{Version: "3.2.26-1", Calls: capget}, report.WhenStart, always},
		{"3.1 and later by version alone", haproxy(), Found{Version: "3.2.26-1"}, report.WhenStart, always},
		{"3.1 and later without the call", haproxy(), Found{Version: "3.2.26-1", Calls: capset}, report.WhenConditional, asRoot},
		{"3.1-dev1", haproxy(), Found{Version: "3.1-dev1", Calls: capget}, report.WhenStart, official},
		{"by name", haproxy(), Found{Calls: capset, Functions: []string{"prepare_caps_from_permitted_set"}}, report.WhenStart, official},
		{"by the name of a caller", haproxy(), Found{Version: "2.9.1", Calls: []report.Call{{Syscall: "capset",
			Function: "prepare_caps_from_permitted_set"}}}, report.WhenStart, official},
		{"without symbols", haproxy(), Found{Version: "3.0.11", Calls: capget}, report.WhenStart, official},
		{"before 3.0-dev7", haproxy(), Found{Version: "2.9.1", Calls: capset}, report.WhenConditional, asRoot},
		{"2.8", haproxy(), Found{Version: "2.8.25", Calls: capset}, report.WhenConditional, asRoot},
		{"by version alone", haproxy(), Found{Version: "3.0.11"}, report.WhenStart, official},
		{"by an older version alone", haproxy(), Found{Version: "2.9.0"}, report.WhenConditional, asRoot},
		{"nginx", nginx(), Found{Version: "1.22.1", Calls: capget}, report.WhenConditional, "transparent"},
	} {
		got := c.p.Trigger(c.found)
		if got.When != c.want || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestCondition is the truth table of each kind of condition.
func TestCondition(t *testing.T) {
	user := Directive{"user", func(s report.Settings) bool { return s.User }}
	setcap := Directive{"setcap", func(s report.Settings) bool { return s.SetCap }}
	none, both, one := &report.Settings{}, &report.Settings{User: true, SetCap: true}, &report.Settings{User: true}
	for name, c := range map[string]struct {
		condition Condition
		met       map[*report.Settings]bool
		certain   bool // without settings
	}{
		"always": {Condition{}, map[*report.Settings]bool{nil: true, none: true, one: true, both: true}, true},
		"never":  {Condition{Never: true}, map[*report.Settings]bool{nil: false, none: false, one: false, both: false}, true},
		"requires": {Condition{Requires: []Directive{user, setcap}}, map[*report.Settings]bool{nil: false, none: false, one: false,
			both: true}, false},
		"excludes": {Condition{Excludes: []Directive{user}}, map[*report.Settings]bool{nil: true, none: true, one: false, both: false}, false},
	} {
		for settings, want := range c.met {
			met, certain := c.condition.Met(settings)
			if met != want || certain != (settings != nil || c.certain) {
				t.Errorf("%s of %+v: %v, %v", name, settings, met, certain)
			}
		}
	}
}

// FuzzMatcher: chunks of a file, wherever they are cut, give the same result.
func FuzzMatcher(f *testing.F) {
	f.Add([]byte("\x003.0.11, released 2026/01/02\x00HAProxy\x00"+features+"\x00"), 20)
	f.Add([]byte("nginx version: nginx/1.22.1\n"), 10)
	f.Add([]byte("99999999999999999999.1-dev99999999999, released 20HAProxy"), 3)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		whole := NewMatcher()
		whole.Chunk(data)
		got, ok := whole.Result()
		if ok {
			if _, valid := ParseVersion(got.Version); !valid || len(got.Version) > maxVersion {
				t.Errorf("version %q", got.Version)
			}
			got.Product.Expected(got.Version)
		}
		if at < 0 || at > len(data) || len(data) > Overlap {
			return
		}
		cut := NewMatcher()
		cut.Chunk(data[:at])
		cut.Chunk(data) // all of it fits the overlap
		if _, again := cut.Result(); ok && !again {
			t.Error("a cut loses the product")
		}
		Hinted(string(data))
	})
}

func TestVersionString(t *testing.T) {
	v, _ := ParseVersion("3.1-dev2")
	want := Version{numbers: [4]int{3, 1}, stage: stageDev, step: 2}
	if diff := cmp.Diff(want, v, cmp.AllowUnexported(Version{})); diff != "" {
		t.Error(diff)
	}
}
