// Package sarif writes findings in the Static Analysis Results Interchange Format 2.1.0, for
// services that show them beside the code.
//
// It has the fields that capvet uses, and is not for reading SARIF.
package sarif

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Schema and version of the format.
const (
	schema  = "https://json.schemastore.org/sarif-2.1.0.json"
	version = "2.1.0"
)

// Level is how bad a result is.
type Level string

// Levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

// Text is a message in plain text.
type Text string

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"text": string(t)})
}

// Rule is a kind of finding. Description is one sentence, and Help the advice.
type Rule struct {
	ID          string `json:"id"`
	Description Text   `json:"shortDescription"`
	Help        Text   `json:"help"`
}

// Tool is the origin of the results.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	URI     string `json:"informationUri,omitempty"`
	Rules   []Rule `json:"rules"`
}

// Result is one finding.
type Result struct {
	RuleID  string
	Level   Level
	Message Text
	// File is a path relative to the working directory, and Line a line of it, counted from 1;
	// 0 stands for the file as a whole.
	File string
	Line int
}

type region struct {
	StartLine int `json:"startLine"`
}

type location struct {
	Physical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region *region `json:"region,omitempty"`
	} `json:"physicalLocation"`
}

type result struct {
	RuleID    string     `json:"ruleId"`
	RuleIndex int        `json:"ruleIndex"`
	Level     Level      `json:"level"`
	Message   Text       `json:"message"`
	Locations []location `json:"locations"`
}

type run struct {
	Tool struct {
		Driver Tool `json:"driver"`
	} `json:"tool"`
	Results []result `json:"results"`
}

type log struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []run  `json:"runs"`
}

// Write writes one run. Each result's rule has to be one of the tool's.
func Write(w io.Writer, tool Tool, results []Result) error {
	r := run{Results: []result{}}
	r.Tool.Driver = tool
	for _, found := range results {
		place := location{}
		place.Physical.Artifact.URI = uriOf(found.File)
		if found.Line > 0 {
			place.Physical.Region = &region{found.Line}
		}
		index := slices.IndexFunc(tool.Rules, func(rule Rule) bool { return rule.ID == found.RuleID })
		r.Results = append(r.Results, result{found.RuleID, index, found.Level, found.Message, []location{place}})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(log{schema, version, []run{r}})
}

// uriOf returns a path as a URI reference; an absolute one names a file.
func uriOf(path string) string {
	path = filepath.ToSlash(path)
	if strings.HasPrefix(path, "/") {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: strings.TrimPrefix(path, "./")}).String()
}
