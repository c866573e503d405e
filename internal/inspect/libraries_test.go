package inspect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

func TestResolveLibraries(t *testing.T) {
	library := func(abi report.ABI) report.Binary {
		return report.Binary{Path: "/lib/libcap.so.2", Machine: "arm64", Capset: report.Capset{ABI: abi, Reason: "why"}}
	}
	foreign := library(report.ABIV3)
	foreign.Machine = "amd64"
	tests := map[string]struct {
		at     map[string]report.Binary
		abi    report.ABI
		reason string
		want   report.Library
	}{
		"negotiated": {
			map[string]report.Binary{"libcap.so.2": library(report.ABINegotiated)}, report.ABILibrary,
			"only through libcap; libcap.so.2 at /lib/libcap.so.2 asks the kernel which version to use",
			report.Library{Name: "libcap.so.2", Path: "/lib/libcap.so.2", ABI: report.ABINegotiated},
		},
		"legacy": {
			map[string]report.Binary{"libcap.so.2": library(report.ABIV1)}, report.ABIV1,
			"only through libcap; libcap.so.2 at /lib/libcap.so.2 uses v1",
			report.Library{Name: "libcap.so.2", Path: "/lib/libcap.so.2", ABI: report.ABIV1},
		},
		"unknown": {
			map[string]report.Binary{"libcap.so.2": library(report.ABIUnknown)}, report.ABILibrary,
			"only through libcap; of libcap.so.2 at /lib/libcap.so.2 it is not known: why",
			report.Library{Name: "libcap.so.2", Path: "/lib/libcap.so.2", ABI: report.ABIUnknown},
		},
		"a hollow one": {
			map[string]report.Binary{"libcap.so.2": library(report.ABINone)}, report.ABILibrary,
			"only through libcap; libcap.so.2 at /lib/libcap.so.2 makes no capability call of its own",
			report.Library{Name: "libcap.so.2", Path: "/lib/libcap.so.2", ABI: report.ABINone},
		},
		"missing": {
			nil, report.ABILibrary, "only through libcap; libcap.so.2 is not at hand", report.Library{Name: "libcap.so.2"},
		},
		"of another machine": {
			map[string]report.Binary{"libcap.so.2": foreign}, report.ABILibrary,
			"only through libcap; /lib/libcap.so.2 is for amd64", report.Library{Name: "libcap.so.2"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := report.Binary{Machine: "arm64", Capset: report.Capset{
				ABI: report.ABILibrary, Reason: "only through libcap", Libraries: []report.Library{{Name: "libcap.so.2"}},
			}}
			before := b
			ResolveLibraries(&b, func(name string) (report.Binary, bool) { l, ok := tc.at[name]; return l, ok })
			want := report.Capset{ABI: tc.abi, Reason: tc.reason, Libraries: []report.Library{tc.want}}
			if diff := cmp.Diff(want, b.Capset); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			if before.Capset.Libraries[0] != (report.Library{Name: "libcap.so.2"}) {
				t.Errorf("another holder of the report sees %+v", before.Capset.Libraries)
			}
		})
	}
	b := report.Binary{Capset: report.Capset{ABI: report.ABIV3}}
	ResolveLibraries(&b, func(string) (report.Binary, bool) {
		t.Error("asked for a library of a binary that needs none")
		return report.Binary{}, false
	})
}
