package main

import (
	"io"
	"strings"
	"testing"
)

func TestServerFlags(t *testing.T) {
	for arg, want := range map[string]string{
		"--max-connections=0":     "--max-connections",
		"--header-time=0":         "--header-time",
		"--review-time=-1s":       "--review-time",
		"--idle-time=0s":          "--idle-time",
		"--client-ca-file=x":      "give both --client-ca-file and --client-name",
		"--client-name=apiserver": "give both --client-ca-file and --client-name",
	} {
		if _, err := parseOptions([]string{"--cert-dir=/", arg}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", arg, err, want)
		}
	}
}
