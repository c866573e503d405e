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

func TestTrigger(t *testing.T) {
	const start, conditional, unknown = report.WhenStart, report.WhenConditional, report.WhenUnknown
	for _, tt := range []struct {
		name    string
		product string
		base    report.When
		run     Run
		image   *report.Configuration
		want    report.When
		why     string // part of it
	}{
		{"nothing is known", "haproxy", start, Run{}, nil, start, "as the report says"},
		{"the image's user", "haproxy", start, Run{}, says("99"), start, "as non-root here (the image's user)"},
		{"the image's user by a name that nobody knows", "haproxy", start, Run{}, says("haproxy:haproxy"), start, "as the report says"},
		{"the image's user by name", "haproxy", start, Run{}, saysUser("haproxy:haproxy", 99), start, "as non-root here (the image's user)"},
		{"the image's user by a name of root's", "haproxy", start, Run{}, saysUser("haproxy", 0), conditional, "as root here (the image's user)"},
		{"root is another's name", "haproxy", start, Run{}, saysUser("root", 7), start, "as non-root here (the image's user)"},
		{"the image's user and group", "haproxy", start, Run{}, says("99:0"), start, "as non-root here (the image's user)"},
		{"the image's root", "haproxy", start, Run{}, says(""), conditional, "as root here (the image's user)"},
		{"the image's root by name", "haproxy", start, Run{}, says("root:adm"), conditional, "as root here (the image's user)"},
		{"the image's root by number", "haproxy", start, Run{}, says("00:7"), conditional, "as root here (the image's user)"},
		{"the Pod's user goes first", "haproxy", start, Run{User: UserNonRoot}, says("0"), start, "as non-root here and"},
		{"the Pod's root goes first", "haproxy", start, Run{User: UserRoot}, says("99"), conditional, "as root here and"},
		{"nginx of the image's user", "nginx", conditional, Run{}, says("101"), conditional, "it runs as non-root here (the image's user)"},
		{"the image's command", "haproxy", start, Run{}, says("99", "docker-entrypoint.sh", "--", "haproxy", "-f", "x"), start, "at every start"},
		{"the image's product behind a link", "other", start, Run{}, says("99", "--", "/sbin/other", "-f"), start, "as the report says"},
		{"another entry point", "haproxy", start, Run{}, says("99", "/init"), unknown, "The image's entry point (/init) does not name HAProxy"},
		{"another entry point with a command", "haproxy", start, Run{}, says("99", "/init", "--", "serve"), unknown, "(/init)"},
		{"arguments name it", "haproxy", start, Run{Args: []string{"haproxy", "-V"}}, says("99", "/init"), start, "at every start"},
		{"options for what the image starts", "haproxy", start, Run{Args: []string{"-f", "y"}}, says("99", "docker-entrypoint.sh", "--", "haproxy"), start, "at every start"},
		{"options for the entry point", "haproxy", start, Run{Args: []string{"-f", "y"}}, says("99", "/usr/sbin/haproxy"), start, "at every start"},
		{"options in place of the command", "haproxy", start, Run{Args: []string{"-x"}}, says("99", "--", "haproxy"), unknown, "(-x)"},
		{"arguments name another", "haproxy", start, Run{Args: []string{"sh"}}, says("99", "docker-entrypoint.sh", "--", "haproxy"), unknown, "the container's arguments (docker-entrypoint.sh) do not name HAProxy"},
		{"non-root", "haproxy", start, Run{User: UserNonRoot}, nil, start, "at every start, unless `global` has `user` or `uid`"},
		{"root", "haproxy", start, Run{User: UserRoot}, nil, conditional, "only with both `user`/`uid` and `setcap` in `global`"},
		{"an older one, root", "haproxy", conditional, Run{User: UserRoot}, nil, conditional, "both `user`/`uid` and `setcap` in `global`"},
		{"an older one, non-root", "haproxy", conditional, Run{User: UserNonRoot}, nil, conditional, "it runs as non-root here"},
		{"nginx, non-root", "nginx", conditional, Run{User: UserNonRoot}, nil, conditional, "it runs as non-root here"},
		{"nginx, root", "nginx", conditional, Run{User: UserRoot}, nil, conditional, "transparent"},
		{"a product of no known ways", "other", start, Run{User: UserRoot}, nil, start, "as the report says"},
		{"its command", "haproxy", start, Run{Command: []string{"/usr/local/sbin/haproxy", "-f", "x"}, User: UserNonRoot}, nil, start, "at every start"},
		{"a script with it", "haproxy", start, Run{Command: []string{"sh", "-c", "exec haproxy -f /x"}}, nil, start, "as the report says"},
		{"a script with it, quoted", "haproxy", start, Run{Command: []string{"sh", "-c", "exec '/usr/sbin/haproxy' -f /x;true"}}, nil, start, "as the report says"},
		{"its configuration alone", "haproxy", start, Run{Command: []string{"check", "/etc/haproxy/haproxy.cfg"}}, nil, unknown, "(check)"},
		{"another command", "haproxy", start, Run{Command: []string{"sleep", "1"}, User: UserNonRoot}, nil, unknown, "(sleep)"},
	} {
		got := tt.run.assess(triggered(tt.product, tt.base), &report.Report{Configuration: tt.image}).trigger
		if got.When != tt.want || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if got := (Run{User: UserRoot}).assess(&report.Binary{}, nil).trigger; got != nil {
		t.Errorf("nothing to trigger: got %+v", got)
	}
}

// says is a configuration with that user, and the words of ENTRYPOINT and, after
// --, of CMD.
func says(user string, words ...string) *report.Configuration {
	c := &report.Configuration{User: user, Entrypoint: words}
	if i := slices.Index(words, "--"); i >= 0 {
		c.Entrypoint, c.Command = words[:i], words[i+1:]
	}
	return c
}

// saysUser is says for a user whose number in the image is known.
func saysUser(user string, uid int64) *report.Configuration {
	return &report.Configuration{User: user, UID: &uid}
}
