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

// Rule is a kind of finding.
type Rule struct {
	ID string
	// Description is one sentence.
	Description string
	// Help is the advice.
	Help string
}

// Result is one finding.
type Result struct {
	RuleID string
	Level  Level
	// Message is plain text.
	Message string
	// File is a path relative to the working directory, and Line a line of it, counted from 1;
	// 0 stands for the file as a whole.
	File string
	Line int
}

// Tool is the origin of the results.
type Tool struct {
	Name, Version, URI string
	Rules              []Rule
}

type text struct {
	Text string `json:"text"`
}

type rule struct {
	ID          string `json:"id"`
	Description text   `json:"shortDescription"`
	Help        text   `json:"help"`
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
	Message   text       `json:"message"`
	Locations []location `json:"locations"`
}

type driver struct {
	Name           string `json:"name"`
	Version        string `json:"version,omitempty"`
	InformationURI string `json:"informationUri,omitempty"`
	Rules          []rule `json:"rules"`
}

type run struct {
	Tool struct {
		Driver driver `json:"driver"`
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
	r.Tool.Driver = driver{Name: tool.Name, Version: tool.Version, InformationURI: tool.URI, Rules: []rule{}}
	index := map[string]int{}
	for i, known := range tool.Rules {
		index[known.ID] = i
		r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, rule{known.ID, text{known.Description}, text{known.Help}})
	}
	for _, found := range results {
		place := location{}
		place.Physical.Artifact.URI = uriOf(found.File)
		if found.Line > 0 {
			place.Physical.Region = &region{found.Line}
		}
		r.Results = append(r.Results, result{found.RuleID, index[found.RuleID], found.Level, text{found.Message}, []location{place}})
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
