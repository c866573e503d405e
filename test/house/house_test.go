// Package house tests the repository's own structure: the import rules of its rooms, the wording of its comments, the shape of its
// literals and the help of its Makefile. It reads source files and runs no code of the module. Rules that golangci-lint can check
// (line and function length, imports, exhaustive switches) stand in .golangci.yaml instead.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the path of the repository's main module.
const module = "github.com/capvet/capvet"

// root is the repository's root, relative to this package.
var root = filepath.Join("..", "..")

// source is a parsed Go file.
type source struct {
	path string // relative to the root, with slashes
	file *ast.File
	set  *token.FileSet
}

// folder returns the folder of the file, which is its package's path below the module.
func (s source) folder() string { return path.Dir(s.path) }

// line returns "path:line" of a position.
func (s source) line(p token.Pos) string {
	position := s.set.Position(p)
	position.Column = 0
	return position.String()
}

// isTest reports whether go build leaves the file out of its package.
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isGenerated reports whether the file is marked as generated.
func (s source) isGenerated() bool { return ast.IsGenerated(s.file) }

// sources parses the Go files below folders of the main module, whatever their build tags. Other modules, hidden folders and
// testdata are left out, as the go command does.
func sources(t *testing.T, folders ...string) []source {
	t.Helper()
	var all []source
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() {
				if name != root && foreign(name) {
					return filepath.SkipDir
				}
				return nil
			}
			if filepath.Ext(name) != ".go" {
				return nil
			}
			relative, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			s := source{path: filepath.ToSlash(relative), set: token.NewFileSet()}
			s.file, err = parser.ParseFile(s.set, s.path, text, parser.ParseComments|parser.SkipObjectResolution)
			all = append(all, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no Go files below %q", folders)
	}
	return all
}

// foreign reports whether a folder is hidden, holds test data or is another module.
func foreign(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	base := filepath.Base(folder)
	return err == nil || base == "testdata" || strings.HasPrefix(base, ".")
}

// parse returns a source file of the given text.
func parse(t *testing.T, name, text string) source {
	t.Helper()
	s := source{path: name, set: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	return s
}
