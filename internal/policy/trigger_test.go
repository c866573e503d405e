package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/report"
)

func triggered(product string, when report.When) *report.Binary {
	return &report.Binary{
		Path: "/usr/local/sbin/" + product, Product: &report.Product{Name: product},
		Capset: report.Capset{ABI: report.ABIV1}, Trigger: &report.Trigger{When: when, Why: "as the report says"},
	}
}

const whenStart, whenConditional, whenUnknown = report.WhenStart, report.WhenConditional, report.WhenUnknown

var triggerTests = []struct {
	name    string
	product string
	base    report.When
	run     Run
	image   *report.Configuration
	want    report.When
	why     string // part of it
}{
	{name: "nothing is known", product: "haproxy", base: whenStart, run: Run{}, want: whenStart, why: "as the report says"},
	{
		name: "the image's user", product: "haproxy", base: whenStart, run: Run{}, image: says("99"), want: whenStart,
		why: "as non-root here (the image's user)",
	},
	{
		name: "the image's user by a name that nobody knows", product: "haproxy", base: whenStart, run: Run{},
		image: says("haproxy:haproxy"), want: whenStart, why: "as the report says",
	},
	{
		name: "the image's user by name", product: "haproxy", base: whenStart, run: Run{}, image: saysUser("haproxy:haproxy", 99),
		want: whenStart, why: "as non-root here (the image's user)",
	},
	{
		name: "the image's user by a name of root's", product: "haproxy", base: whenStart, run: Run{}, image: saysUser("haproxy", 0),
		want: whenConditional, why: "as root here (the image's user)",
	},
	{
		name: "root is another's name", product: "haproxy", base: whenStart, run: Run{}, image: saysUser("root", 7), want: whenStart,
		why: "as non-root here (the image's user)",
	},
	{
		name: "the image's user and group", product: "haproxy", base: whenStart, run: Run{}, image: says("99:0"), want: whenStart,
		why: "as non-root here (the image's user)",
	},
	{
		name: "the image's root", product: "haproxy", base: whenStart, run: Run{}, image: says(""), want: whenConditional,
		why: "as root here (the image's user)",
	},
	{
		name: "the image's root by name", product: "haproxy", base: whenStart, run: Run{}, image: says("root:adm"), want: whenConditional,
		why: "as root here (the image's user)",
	},
	{
		name: "the image's root by number", product: "haproxy", base: whenStart, run: Run{}, image: says("00:7"), want: whenConditional,
		why: "as root here (the image's user)",
	},
	{
		name: "the Pod's user goes first", product: "haproxy", base: whenStart, run: Run{User: UserNonRoot}, image: says("0"),
		want: whenStart, why: "as non-root here and",
	},
	{
		name: "the Pod's root goes first", product: "haproxy", base: whenStart, run: Run{User: UserRoot}, image: says("99"),
		want: whenConditional, why: "as root here and",
	},
	{
		name: "nginx of the image's user", product: "nginx", base: whenConditional, run: Run{}, image: says("101"), want: whenConditional,
		why: "it runs as non-root here (the image's user)",
	},
	{
		name: "the image's command", product: "haproxy", base: whenStart, run: Run{},
		image: says("99", "docker-entrypoint.sh", "--", "haproxy", "-f", "x"), want: whenStart, why: "at every start",
	},
	{
		name: "the image's product behind a link", product: "other", base: whenStart, run: Run{},
		image: says("99", "--", "/sbin/other", "-f"), want: whenStart, why: "as the report says",
	},
	{
		name: "another entry point", product: "haproxy", base: whenStart, run: Run{}, image: says("99", "/init"), want: whenUnknown,
		why: "The image's entry point (/init) does not name HAProxy",
	},
	{
		name: "another entry point with a command", product: "haproxy", base: whenStart, run: Run{},
		image: says("99", "/init", "--", "serve"), want: whenUnknown, why: "(/init)",
	},
	{
		name: "arguments name it", product: "haproxy", base: whenStart, run: Run{Args: []string{"haproxy", "-V"}},
		image: says("99", "/init"), want: whenStart, why: "at every start",
	},
	{
		name: "options for what the image starts", product: "haproxy", base: whenStart, run: Run{Args: []string{"-f", "y"}},
		image: says("99", "docker-entrypoint.sh", "--", "haproxy"), want: whenStart, why: "at every start",
	},
	{
		name: "options for the entry point", product: "haproxy", base: whenStart, run: Run{Args: []string{"-f", "y"}},
		image: says("99", "/usr/sbin/haproxy"), want: whenStart, why: "at every start",
	},
	{
		name: "options in place of the command", product: "haproxy", base: whenStart, run: Run{Args: []string{"-x"}},
		image: says("99", "--", "haproxy"), want: whenUnknown, why: "(-x)",
	},
	{
		name: "arguments name another", product: "haproxy", base: whenStart, run: Run{Args: []string{"sh"}},
		image: says("99", "docker-entrypoint.sh", "--", "haproxy"), want: whenUnknown,
		why: "the container's arguments (docker-entrypoint.sh) do not name HAProxy",
	},
	{
		name: "non-root", product: "haproxy", base: whenStart, run: Run{User: UserNonRoot}, want: whenStart,
		why: "at every start, unless `global` has `user` or `uid`",
	},
	{
		name: "root", product: "haproxy", base: whenStart, run: Run{User: UserRoot}, want: whenConditional,
		why: "only with both `user`/`uid` and `setcap` in `global`",
	},
	{
		name: "an older one, root", product: "haproxy", base: whenConditional, run: Run{User: UserRoot}, want: whenConditional,
		why: "both `user`/`uid` and `setcap` in `global`",
	},
	{
		name: "an older one, non-root", product: "haproxy", base: whenConditional, run: Run{User: UserNonRoot}, want: whenConditional,
		why: "it runs as non-root here",
	},
	{
		name: "nginx, non-root", product: "nginx", base: whenConditional, run: Run{User: UserNonRoot}, want: whenConditional,
		why: "it runs as non-root here",
	},
	{name: "nginx, root", product: "nginx", base: whenConditional, run: Run{User: UserRoot}, want: whenConditional, why: "transparent"},
	{
		name: "an unknown product", product: "other", base: whenStart, run: Run{User: UserRoot},
		want: whenStart, why: "as the report says",
	},
	{
		name: "its command", product: "haproxy", base: whenStart,
		run: Run{Command: []string{"/usr/local/sbin/haproxy", "-f", "x"}, User: UserNonRoot}, want: whenStart, why: "at every start",
	},
	{
		name: "a script with it", product: "haproxy", base: whenStart, run: Run{Command: []string{"sh", "-c", "exec haproxy -f /x"}},
		want: whenStart, why: "as the report says",
	},
	{
		name: "a script with it, quoted", product: "haproxy", base: whenStart,
		run: Run{Command: []string{"sh", "-c", "exec '/usr/sbin/haproxy' -f /x;true"}}, want: whenStart, why: "as the report says",
	},
	{
		name: "its configuration alone", product: "haproxy", base: whenStart,
		run: Run{Command: []string{"check", "/etc/haproxy/haproxy.cfg"}}, want: whenUnknown, why: "(check)",
	},
	{
		name: "another command", product: "haproxy", base: whenStart, run: Run{Command: []string{"sleep", "1"}, User: UserNonRoot},
		want: whenUnknown, why: "(sleep)",
	},
}

func TestTrigger(t *testing.T) {
	for _, tt := range triggerTests {
		got := newProcess(tt.run, &report.Report{Configuration: tt.image}).assess(triggered(tt.product, tt.base)).trigger
		if got.When != tt.want || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if got := newProcess(Run{User: UserRoot}, nil).assess(&report.Binary{}).trigger; got != nil {
		t.Errorf("nothing to trigger: got %+v", got)
	}
}

// says returns a configuration with that user, and the words of ENTRYPOINT and, after
// --, of CMD.
func says(user string, words ...string) *report.Configuration {
	c := &report.Configuration{User: user, Entrypoint: words}
	if i := slices.Index(words, "--"); i >= 0 {
		c.Entrypoint, c.Command = words[:i], words[i+1:]
	}
	return c
}

// saysUser returns a configuration with a user whose number in the image is known.
func saysUser(user string, uid int64) *report.Configuration {
	return &report.Configuration{User: user, UID: &uid}
}
