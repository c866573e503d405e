package product

import "github.com/capvet/capvet/internal/report"

// haproxy: ranges and triggers are from the project's git history (src/linuxcap.c: added
// in 2.9-dev5 and backported to 2.8.3, prepare_caps_from_permitted_set in 3.0-dev7, header
// v3 by commits e2e756a67 and fba9ade89 in 3.1-dev2, without a backport to 3.0) and from
// Debian's arm64 packages.
func haproxy() Product {
	user := Directive{"`user`/`uid`", func(s report.Settings) bool { return s.User }}
	setcap := Directive{"`setcap`", func(s report.Settings) bool { return s.SetCap }}
	root := Condition{Requires: []Directive{user, setcap}, Text: "both `user`/`uid` and `setcap` in `global`"}
	const atStart, atStartCall = "prepare_caps_from_permitted_set", "capget"
	return Product{
		Name:           "haproxy",
		Title:          "HAProxy",
		Executables:    []string{"haproxy", "hapee-lb"},
		Hints:          []string{"haproxy", "hapee"},
		VersionSymbols: []string{"haproxy_version"},
		Markers: []Marker{
			{Text: ", released 20", After: true, Also: "HAProxy"},
		},
		Feature:      "LINUX_CAP",
		HeaderSymbol: "cap_hdr_haproxy",
		Functions:    []string{atStart, "prepare_caps_for_setuid", "finalize_caps_after_setuid"},
		Ranges: []Range{
			{Before: "2.8.3", ABI: report.ABINone},
			{From: "2.8.3", Before: "2.9-dev0", ABI: report.ABIV1},
			{From: "2.9-dev0", Before: "2.9-dev5", ABI: report.ABINone},
			{From: "2.9-dev5", Before: "3.1-dev2", ABI: report.ABIV1},
			{From: "3.1-dev2", ABI: report.ABIV3},
		},
		Triggers: []Trigger{
			{
				When:    report.WhenConditional,
				Why:     "HAProxy makes this call only when it is started as root, with both `user`/`uid` and `setcap` in `global`.",
				Root:    root,
				NonRoot: Condition{Never: true},
			},
			{
				// The function is the only one of its versions that calls capget, so that
				// the call marks a file without symbols.
				Since: "3.0-dev7", Function: atStart, Syscall: atStartCall,
				When: report.WhenStart,
				Why: "HAProxy makes this call at every start when it runs as non-root without `user`/`uid` in `global`, as the official images do; " +
					"as root, only with both `user`/`uid` and `setcap`.",
				Root: root,
				NonRoot: Condition{
					Excludes: []Directive{user}, Text: "`global` has `user` or `uid`",
					Note: "If you upgraded from 2.8 LTS, this message is expected.",
				},
			},
			{
				// For a report should it crash, it reads its capabilities at every start
				// (src/debug.c; seen under strace in 3.1.0 and 3.2.26).
				Since: "3.1", Function: atStart, Syscall: atStartCall, ByVersion: true,
				When: report.WhenStart,
				Why:  "HAProxy makes this call at every start, as root and as non-root.",
			},
		},
		Configuration: &Configuration{
			Section: "`global`", Directives: []Directive{user, setcap},
			FileOption: "-f", FilesAfter: "--", DirectoryOption: "-C", Parse: haproxySettings,
		},
		Advice: haproxyAdvice(),
	}
}

// haproxyAdvice names 3.2, the LTS release with header v3 that is maintained the longest
// beside 3.4 (to Q2 2030, https://www.haproxy.org); 3.1 ended in Q1 2026.
func haproxyAdvice() Advice {
	const upgrade, effect = "Upgrade to HAProxy 3.2 LTS at your next maintenance window",
		"It is harmless: the kernel logs at most one line per boot."
	return Advice{
		Start:       []string{upgrade + ".", "Until then it is harmless: the kernel logs one line per boot. Test environments can upgrade now."},
		Conditional: []string{upgrade + " if its `global` section has both `user`/`uid` and `setcap`.", effect},
		Dormant: []string{"This Pod needs no action: as it is configured now, HAProxy does not make the call. " +
			"HAProxy 3.2 LTS uses the current ABI."},
		Unstarted:  []string{upgrade + " if this Pod starts it.", effect},
		UnknownABI: []string{"HAProxy 3.1 and later use the current ABI: check the version of this build, or upgrade to HAProxy 3.2 LTS."},
	}
}
