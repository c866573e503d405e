package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
)

func newInspectCommand() *cobra.Command {
	format := formatText
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Read ELF files on disk",
		Example: `  capvet inspect /usr/sbin/haproxy
  capvet inspect --output json ./bin/*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var reports []report.Report
			failed := false
			for _, file := range files {
				r, err := inspectFile(file)
				if err != nil {
					failed = true
					fmt.Fprintln(cmd.ErrOrStderr(), "capvet:", err)
				}
				reports = append(reports, r)
			}
			return finish(cmd.OutOrStdout(), format, reports, failed)
		},
	}
	cmd.Flags().Var(&format, "output", "`format` of the result: text or json")
	return cmd
}

// inspectFile reports on one file. With an error the report has a gap that says
// the same, so that no file asked for is missing from the output.
func inspectFile(path string) (report.Report, error) {
	r := report.New()
	binary, err := openAndInspect(path)
	if err != nil {
		r.Complete = false
		r.Gaps = append(r.Gaps, report.Gap{Where: path, Reason: "unreadable", Detail: err.Error()})
		return r, err
	}
	r.Binaries = append(r.Binaries, binary)
	return r, nil
}

func openAndInspect(path string) (report.Binary, error) {
	info, err := os.Stat(path)
	if err != nil {
		return report.Binary{}, err // names the path
	}
	if !info.Mode().IsRegular() {
		// Opening a FIFO would wait for a writer, and a device has no size.
		return report.Binary{}, fmt.Errorf("%s is not a regular file: name the executable itself", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return report.Binary{}, err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return report.Binary{}, err
	}
	return inspect.File(file, size, path) // its errors name the path
}
