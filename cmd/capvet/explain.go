package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/capvet/capvet/internal/elfcaps"
)

// writeEvidence writes for each call the instructions that its verdict is based on,
// with notes.
func writeEvidence(w io.Writer, machine string, all []elfcaps.Evidence) error {
	out := &strings.Builder{}
	for _, e := range all {
		fmt.Fprintln(out)
		if e.Call.Syscall == "" {
			fmt.Fprintf(out, "  call at %s: %s\n", e.Call.Address, e.Reason)
		} else {
			fmt.Fprintf(out, "  %s %s at %s, header: %s\n", e.Call.Syscall, e.Call.ABI, e.Call.Address, clean(e.Call.Header))
		}
		for _, f := range e.Functions {
			fmt.Fprintf(out, "    %s, %#x to %#x\n", cmp.Or(clean(f.Name), "function"), f.Start, f.End)
			writeLines(out, machine, f.Lines)
		}
		for _, d := range e.Data {
			symbol := clean(d.Symbol)
			if symbol != "" {
				symbol += "  "
			}
			fmt.Fprintf(out, "    data\n      %8x:  % x  %s%s\n", d.Address, d.Code, symbol, notes(d.Notes))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

const textWidth = 44 // of a disassembled instruction, in columns

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
