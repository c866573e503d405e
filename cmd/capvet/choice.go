package main

import (
	"fmt"
	"slices"
	"strings"
)

// Values of --output and --binaries.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatSARIF = "sarif"

	binariesProxies = "proxies"
	binariesAll     = "all"
)

// choice is a pflag.Value with a few permitted values.
type choice struct {
	value     string
	permitted []string
	kind      string // in the help
}

// newChoice returns a choice whose default is the first value.
func newChoice(kind string, permitted ...string) *choice {
	return &choice{permitted[0], permitted, kind}
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return c.kind }

func (c *choice) Set(s string) error {
	if last := len(c.permitted) - 1; !slices.Contains(c.permitted, s) {
		return fmt.Errorf("give %s or %s", strings.Join(c.permitted[:last], ", "), c.permitted[last])
	}
	c.value = s
	return nil
}
