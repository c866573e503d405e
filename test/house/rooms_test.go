package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is a rule of depguard: the imports that the files of one room may have.
type rule struct {
	name string
	Mode string `yaml:"list-mode"`
	Deny []struct{ Pkg string }
	// Files are patterns. Each names one folder.
	Files []string
}

// rules returns depguard's rules in the order of .golangci.yaml.
func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct{ Depguard struct{ Rules yaml.Node } }
		}
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for pair := range slices.Chunk(config.Linters.Settings.Depguard.Rules.Content, 2) {
		r := rule{name: pair[0].Value}
		if err := pair[1].Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// folders returns the folders that a rule is about.
func (r rule) folders(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range r.Files {
		if pattern == "!$test" {
			continue
		}
		folder, found := strings.CutPrefix(pattern, "**/")
		folder, ends := strings.CutSuffix(folder, "/*.go")
		if !found || !ends || strings.Contains(folder, "*") {
			t.Errorf("rule %s of depguard in .golangci.yaml has the files %q: write them as **/FOLDER/*.go", r.name, pattern)
			continue
		}
		all = append(all, folder)
	}
	return all
}

// rooms are the folders below internal, cmd and api that hold Go files, with their imports from the module.
func rooms(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, s := range sources(t, "internal", "cmd", "api") {
		if s.isTest() {
			continue
		}
		imports := all[s.folder()]
		for _, spec := range s.file.Imports {
			location, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if folder, ok := strings.CutPrefix(location, module+"/"); ok && !slices.Contains(imports, folder) {
				imports = append(imports, folder)
			}
		}
		all[s.folder()] = imports
	}
	return all
}

// TestEveryRoomHasARule: depguard in .golangci.yaml knows each room, and no other folder. The rule of a room below internal denies
// the whole module and allows other rooms by name, so that a new import is a decision.
func TestEveryRoomHasARule(t *testing.T) {
	ruled := map[string]bool{}
	all := rooms(t)
	for _, r := range rules(t) {
		for _, folder := range r.folders(t) {
			ruled[folder] = true
			if _, ok := all[folder]; !ok {
				t.Errorf("rule %s of depguard in .golangci.yaml is about %s, which holds no Go files: remove the rule", r.name, folder)
			}
			denied := slices.ContainsFunc(r.Deny, func(d struct{ Pkg string }) bool { return strings.HasPrefix(module, d.Pkg) })
			if strings.HasPrefix(folder, "internal/") && (!denied || r.Mode == "strict") {
				t.Errorf("rule %s of depguard in .golangci.yaml does not deny %s: deny it, with list-mode lax, and allow the rooms that %s imports",
					r.name, module, folder)
			}
		}
	}
	for folder := range all {
		if !ruled[folder] {
			t.Errorf("%s has no rule: add one to depguard in .golangci.yaml, after those of the rooms that it imports, and a row to "+
				"docs/architecture.md", folder)
		}
	}
}

// TestNoArrowUp: the rules in .golangci.yaml stand from the ground up. A room imports only rooms whose rules stand before its own,
// so the graph of the rooms' imports has no cycle, even where a room is several packages.
func TestNoArrowUp(t *testing.T) {
	floor := map[string]int{}
	for i, r := range rules(t) {
		for _, folder := range r.folders(t) {
			floor[folder] = i
		}
	}
	all, arrows := rooms(t), 0
	for folder, imports := range all {
		for _, lower := range imports {
			arrows++
			upper, ruled := floor[folder]
			at, known := floor[lower]
			if _, room := all[lower]; !room {
				t.Errorf("%s imports %s, which is no room: import rooms below internal and api alone", folder, lower)
			} else if ruled && known && at >= upper { // TestEveryRoomHasARule reports the others
				t.Errorf("%s imports %s, whose rule does not stand before its own in .golangci.yaml: move the rule if %s is the lower room, else "+
					"remove the import",
					folder, lower, lower)
			}
		}
	}
	if arrows < 20 {
		t.Errorf("%d imports: the rooms were not read", arrows)
	}
}

// TestArchitectureNamesRooms: docs/architecture.md has a row for each room.
func TestArchitectureNamesRooms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for folder := range rooms(t) {
		if !strings.Contains(string(text), "| `"+folder+"/` |") {
			t.Errorf("docs/architecture.md has no row for %s/: add it to the table of rooms", folder)
		}
	}
}

// TestPureRooms: the rooms that judge and those that read executables depend on no network client and no registry.
func TestPureRooms(t *testing.T) {
	for _, room := range []string{"policy", "judge", "elffile", "isa", "absint"} {
		t.Run(room, func(t *testing.T) {
			t.Parallel()
			for location, importers := range dependencies(t, "./internal/"+room) {
				if location == "net/http" || strings.HasPrefix(location, "k8s.io/client-go") ||
					strings.HasPrefix(location, "github.com/google/go-containerregistry") {
					t.Errorf("internal/%s depends on %s, imported by %s: remove the import, or move the code that needs it to another room",
						room, location, strings.Join(importers, ", "))
				}
			}
		})
	}
}

// dependencies returns the packages that a package depends on, each with its importers among them.
func dependencies(t *testing.T, pattern string) map[string][]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, pattern)
	list.Dir = root
	output, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", pattern, err, output)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		for _, imported := range fields[1:] {
			all[imported] = append(all[imported], fields[0])
		}
	}
	return all
}
