package product

import "github.com/capvet/capvet/internal/report"

// haproxy: ranges and triggers from the project's git history (src/linuxcap.c:
// added in 2.9-dev5, prepare_caps_from_permitted_set in 3.0-dev7, header v3 by
// commits e2e756a67 and fba9ade89 in 3.1-dev2, which the 3.0 branch did not
// take) and from Debian's arm64 packages.
func haproxy() Product {
	return Product{
		Name:           "haproxy",
		Executables:    []string{"haproxy", "hapee-lb"},
		Hints:          []string{"haproxy", "hapee"},
		VersionSymbols: []string{"haproxy_version"},
		Markers: []Marker{
			{Text: ", released 20", After: true, Also: "HAProxy"},
		},
		Feature:      "LINUX_CAP",
		HeaderSymbol: "cap_hdr_haproxy",
		Functions:    []string{haproxyAtStart, "prepare_caps_for_setuid", "finalize_caps_after_setuid"},
		Ranges: []Range{
			{Before: "2.9-dev5", ABI: report.ABINone},
			{From: "2.9-dev5", Before: "3.1-dev2", ABI: report.ABIV1},
			{From: "3.1-dev2", ABI: report.ABIV3},
		},
		Trigger: haproxyTrigger,
		Legacy:  haproxyLegacy,
	}
}

// haproxyLegacy tells those whom every start concerns, who mostly come from an
// LTS release without the line, from those whom a rare configuration does.
func haproxyLegacy(f Found) string {
	const fixed = "Fixed in HAProxy 3.1 and, as LTS, 3.2; harmless until then: one line in the kernel's log per boot"
	if haproxyTrigger(f).When == report.WhenStart {
		return fixed + ", nothing else changes. " +
			"Production may wait for its next planned upgrade, tests can move now; coming from 2.8 LTS the line is expected."
	}
	return fixed + ", and only where it is started as root with setcap in global. " +
		"Production may wait for its next planned upgrade, tests can move now."
}

// haproxyAtStart is the function that asks for the process's own capabilities.
const haproxyAtStart = "prepare_caps_from_permitted_set"

// haproxyAtStartSince is the first version that has it.
const haproxyAtStartSince = "3.0-dev7"

// haproxyPostMortemSince is the first release known to note its capabilities at
// every start, for a report should it crash (src/debug.c; seen under strace in
// 3.1.0 and 3.2.26).
const haproxyPostMortemSince = "3.1"

func haproxyTrigger(f Found) report.Trigger {
	// The function is the only one of its version that calls capget, so that a
	// file without symbols tells as well.
	atStart := f.has(haproxyAtStart) || f.calls("capget")
	if len(f.Calls) == 0 && !atStart {
		since, _ := ParseVersion(haproxyAtStartSince)
		v, ok := ParseVersion(f.Version)
		atStart = ok && v.Compare(since) >= 0
	}
	if v, ok := ParseVersion(f.Version); ok && atStart {
		if since, _ := ParseVersion(haproxyPostMortemSince); v.Compare(since) >= 0 {
			return report.Trigger{When: report.WhenStart, Why: "runs at every start, whoever starts it"}
		}
	}
	if atStart {
		return report.Trigger{
			When: report.WhenStart,
			Why: "runs at every start as non-root, unless global has user or uid (official images: at every start); " +
				"as root only with user or uid and setcap",
		}
	}
	return report.Trigger{
		When: report.WhenConditional,
		Why:  "runs only when started as root with both user or uid and setcap in the global section",
	}
}
