package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// explained writes each report with what it was read from, and chooses the exit
// code as finish does.
func explained(w io.Writer, reports []report.Report, evidence [][]elfcaps.Evidence, failed bool) error {
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(w)
		}
		err := writeText(w, []report.Report{r})
		if err == nil && len(evidence[i]) > 0 {
			err = writeEvidence(w, r.Binaries[0], evidence[i])
		}
		if err != nil {
			return exitError{exitFailed, fmt.Errorf("writing the result: %w", err)}
		}
	}
	return outcome(reports, failed)
}

// writeEvidence writes for a person what a binary's verdict was read from: for
// each call the instructions that matter, with what each has to do with it.
func writeEvidence(w io.Writer, b report.Binary, all []elfcaps.Evidence) error {
	out := &strings.Builder{}
	for _, e := range all {
		fmt.Fprintln(out)
		if e.Call.Syscall == "" {
			fmt.Fprintf(out, "  call at %s: %s\n", e.Call.Address, e.Reason)
		} else {
			fmt.Fprintf(out, "  %s %s at %s, header: %s\n", e.Call.Syscall, e.Call.ABI, e.Call.Address, clean(e.Call.Header))
		}
		for _, f := range e.Functions {
			name := clean(f.Name)
			if name == "" {
				name = "function"
			}
			fmt.Fprintf(out, "    %s, %#x to %#x\n", name, f.Start, f.End)
			writeLines(out, b.Machine, f.Lines)
		}
		for _, d := range e.Data {
			fmt.Fprintf(out, "    data\n      %8x:  % x  %s%s\n", d.Address, d.Code, symbolPrefix(d.Symbol), notes(d.Notes))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func symbolPrefix(name string) string {
	if name == "" {
		return ""
	}
	return clean(name) + "  "
}

const textWidth = 44 // of a disassembled instruction, before its notes

func writeLines(out io.Writer, machine string, lines []elfcaps.Line) {
	next := uint64(0)
	for i, l := range lines {
		if i > 0 && l.Address != next {
			fmt.Fprintf(out, "      %8s\n", "...")
		}
		next = l.Address + uint64(len(l.Code))
		text := disassemble(machine, l.Code, l.Address)
		if len(l.Notes) > 0 {
			text = fmt.Sprintf("%-*s %s", textWidth, text, notes(l.Notes))
		}
		fmt.Fprintf(out, "      %8x:  %s\n", l.Address, text)
	}
}

func notes(all []elfcaps.Note) string {
	parts := make([]string, len(all))
	for i, n := range all {
		parts[i] = string(n.Role) + ": " + clean(n.Text)
	}
	return "<- " + strings.Join(parts, "; ")
}
