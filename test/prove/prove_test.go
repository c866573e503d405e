package prove

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

func TestParseTrace(t *testing.T) {
	for name, test := range map[string]struct {
		trace string
		want  []Call
		wrong string // part of the error
	}{
		"nothing": {trace: "12 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---\n12 +++ exited with 0 +++\n"},
		"two": {
			trace: "12345 capget({version=_LINUX_CAPABILITY_VERSION_1, pid=0}, {effective=0, permitted=0, inheritable=0}) = 0\n" +
				"12345 capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_NET_RAW, permitted=1<<CAP_NET_RAW, inheritable=0}) = " +
				"-1 EPERM (Operation not permitted)\n",
			want: []Call{{"capget", report.ABIV1}, {"capset", report.ABIV3}},
		},
		"interrupted": {
			trace: "7 capget( <unfinished ...>\n8 capset({version=_LINUX_CAPABILITY_VERSION_1, pid=0}, {effective=0, permitted=0, inheritable=0} " +
				"<unfinished ...>\n" +
				"7 <... capget resumed>{version=_LINUX_CAPABILITY_VERSION_2, pid=0}, NULL) = 0\n8 <... capset resumed>) = 0\n",
			want: []Call{{"capset", report.ABIV1}, {"capget", report.ABIV2}},
		},
		"no process before it": {trace: "capset({version=_LINUX_CAPABILITY_VERSION_1, pid=0}, NULL) = -1 EFAULT (Bad address)\n",
			want: []Call{{"capset", report.ABIV1}}},
		"a probe": {trace: "7 capget({version=0 /* _LINUX_CAPABILITY_VERSION_??? */, pid=0}, NULL) = -1 EINVAL (Invalid argument)\n",
			wrong: "no known version"},
		"no header": {trace: "7 capget(NULL, NULL) = -1 EFAULT (Bad address)\n", wrong: "no header"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTrace(strings.NewReader(test.trace))
			if (err != nil) != (test.wrong != "") || (err != nil && !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
			if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestContradictions(t *testing.T) {
	v1 := report.Capset{ABI: report.ABIV1, Calls: []report.Call{{Syscall: "capget", ABI: report.ABIV1},
		{Syscall: "capset", ABI: report.ABIV1}}}
	for name, test := range map[string]struct {
		verdict report.Capset
		seen    []Call
		must    []string
		want    []string
	}{
		"agrees": {v1, []Call{{"capget", report.ABIV1}, {"capset", report.ABIV1}}, []string{"capget"}, nil},
		"quiet":  {v1, nil, nil, nil},
		"none":   {report.Capset{ABI: report.ABINone}, nil, nil, nil},
		"another version": {v1, []Call{{"capget", report.ABIV3}, {"capget", report.ABIV3}}, []string{"capget"},
			[]string{"capget v3 was seen, the verdict does not list it"}},
		"a call not seen": {v1, []Call{{"capget", report.ABIV1}}, []string{"capget", "capset"},
			[]string{"no capset was seen in a run that should make one"}},
		"not quiet": {v1, []Call{{"capset", report.ABIV1}}, nil, []string{"capset v1 was seen in a run that should make no call"}},
		"a false none": {report.Capset{ABI: report.ABINone}, []Call{{"capset", report.ABIV1}}, nil,
			[]string{"capset v1 was seen, the verdict does not list it"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Contradictions(test.verdict, test.seen, test.must)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	if got, want := Summary([]Call{{"capset", report.ABIV1}, {"capget", report.ABIV3}, {"capset", report.ABIV1}}),
		"capset v1 x2, capget v3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Summary(nil); got != "nothing" {
		t.Errorf("got %q", got)
	}
}

func TestReadTestimony(t *testing.T) {
	const (
		version = "witness: log: <5>[    0.000000] Linux version 6.12.0-arm64 (maintainer@example.com)\r\n"
		haproxy = "witness: log: <6>[    9.100000] capability: warning: `haproxy' uses 32-bit capabilities (legacy support in use)\r\n"
		witness = "witness: log: <6>[    9.300000] capability: warning: `witness' uses 32-bit capabilities (legacy support in use)\r\n"
		served  = "witness: served\r\n"
		done    = "witness: done\r\n"
	)
	for name, test := range map[string]struct {
		console string
		want    string // the offender
		wrong   string // part of the error
	}{
		"an offender": {console: "[    9.100000] capability: warning: `console' uses 32-bit capabilities\r\n" + served + version + haproxy +
			done, want: "haproxy"},
		"the control":    {console: served + version + witness + done, want: "witness"},
		"nobody":         {console: served + version + done, wrong: "names no program"},
		"not served":     {console: version + haproxy + done, wrong: "did not come to its end"},
		"cut off":        {console: served + version + haproxy, wrong: "did not come to its end"},
		"a failure":      {console: "witness: failed: no answer\r\n", wrong: "no answer"},
		"a kernel panic": {console: "[    1.0] Kernel panic - not syncing\r\n", wrong: "did not come to its end"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadTestimony(strings.NewReader(test.console))
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("error is %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil || got.Offender != test.want || !strings.Contains(got.Line, test.want) || !strings.Contains(got.Kernel, "6.12.0-arm64") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
