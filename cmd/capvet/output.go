package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// finish writes the reports, as text with their evidence, and chooses the exit code. Errors were
// printed before; an error takes precedence over a finding, since the rest is unknown.
func finish(w io.Writer, format string, reports []report.Report, evidence [][]elfcaps.Evidence, failed bool) error {
	var err error
	if format == formatJSON {
		err = writeJSON(w, reports)
	} else {
		err = writeText(w, reports, evidence)
	}
	switch {
	case err != nil:
		return exitError{exitFailed, fmt.Errorf("writing the result: %w", err)}
	case failed:
		return exitError{code: exitFailed}
	case slices.ContainsFunc(reports, func(r report.Report) bool { return r.Worst().Legacy() }):
		return exitError{code: exitLegacy}
	}
	return nil
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// writeText writes one block of text for each binary, the gaps, and the evidence, if any.
func writeText(w io.Writer, reports []report.Report, evidence [][]elfcaps.Evidence) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if r.Image != "" || r.Reference != "" {
			fmt.Fprintf(out, "%s\n", clean(strings.TrimSpace(r.Reference+" "+r.Platform)))
			if r.Image != "" {
				fmt.Fprintf(out, "  image\t%s\n", clean(r.Image))
			}
			if c := r.Configuration; c != nil {
				fmt.Fprintf(out, "  run as\t%s: %s\n", clean(cmp.Or(c.User, "root")), clean(strings.Join(slices.Concat(c.Entrypoint, c.Command), " ")))
			}
			if len(r.Binaries) == 0 && r.Complete {
				fmt.Fprintf(out, "  no known proxy for this platform\n")
			}
		}
		for _, b := range r.Binaries {
			writeBinary(out, b)
		}
		if n := len(r.ThroughTable); n > 0 {
			fmt.Fprintf(out, "  not verified\tthat %d layers agree with the tables of contents that they were read through\n", n)
		}
		for _, g := range r.Gaps {
			fmt.Fprintf(out, "  not seen\t%s (%s) %s\n", clean(g.Where), clean(g.Reason), clean(g.Detail))
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if i < len(evidence) && len(evidence[i]) > 0 {
			if err := writeEvidence(w, r.Binaries[0].Machine, evidence[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeBinary(w io.Writer, b report.Binary) {
	fmt.Fprintf(w, "%s\n", clean(b.Path))
	if b.Product != nil {
		fmt.Fprintf(w, "  product\t%s (from a %s)\n", clean(strings.TrimSpace(b.Product.Name+" "+b.Product.Version)), clean(b.Product.Basis))
	}
	fmt.Fprintf(w, "  file\t%s %s, %s, %d bytes\n", b.Machine, b.Linkage, b.Libc, b.Size)
	legacy := ""
	if b.Capset.ABI.Legacy() {
		legacy = ", legacy"
	}
	fmt.Fprintf(w, "  capability ABI\t%s%s (basis: %s)\n", b.Capset.ABI, legacy, b.Capset.Basis)
	if b.Capset.Reason != "" {
		fmt.Fprintf(w, "  reason\t%s\n", clean(b.Capset.Reason))
	}
	for _, c := range b.Capset.Calls {
		fmt.Fprintf(w, "  call\t%s %s at %s", c.Syscall, c.ABI, c.Address)
		if c.Function != "" {
			fmt.Fprintf(w, " in %s", clean(c.Function))
		}
		fmt.Fprintf(w, ", via %s", c.Via)
		if c.Header != "" {
			fmt.Fprintf(w, ", header: %s", clean(c.Header))
		}
		fmt.Fprintln(w)
	}
	if b.Trigger != nil {
		fmt.Fprintf(w, "  runs\t%s: %s\n", b.Trigger.When, clean(b.Trigger.Why))
	}
	if b.Advice != "" {
		fmt.Fprintf(w, "  advice\t%s\n", clean(b.Advice))
	}
}

// clean replaces unprintable characters, such as a terminal's control sequences.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
}
