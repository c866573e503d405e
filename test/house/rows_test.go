package house

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
	"testing"
)

// maxPositional is how many fields a struct literal may give by position.
const maxPositional = 5

// TestPositionalFields: a struct literal with more than maxPositional fields names them, so that a reader need not count columns.
func TestPositionalFields(t *testing.T) {
	all := sources(t, ".")
	known := declared(all)
	for _, s := range all {
		for _, literal := range known.positional(s) {
			t.Errorf("%s: %d fields by position; name the fields, or leave out those that are zero", s.line(literal.Pos()), len(literal.Elts))
		}
	}
}

// types are the type declarations of packages, by folder and name. Declarations within functions count as the package's.
type types map[string]map[string]declaration

// declaration is the right-hand side of a type declaration and the file in which it is to be read.
type declaration struct {
	expression ast.Expr
	source     source
}

func declared(all []source) types {
	found := types{}
	for _, s := range all {
		names := found[s.folder()]
		if names == nil {
			names = map[string]declaration{}
			found[s.folder()] = names
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				names[spec.Name.Name] = declaration{spec.Type, s}
			}
			return true
		})
	}
	return found
}

// positional returns the struct literals of a file that give more than maxPositional fields by position. Literals of types from
// other modules are left to go vet, which wants all their fields named.
func (known types) positional(s source) []*ast.CompositeLit {
	var found []*ast.CompositeLit
	ast.Inspect(s.file, func(n ast.Node) bool {
		// A literal without a type is an element of another one, which visit reaches from there.
		if literal, ok := n.(*ast.CompositeLit); ok && literal.Type != nil {
			known.visit(literal, declaration{literal.Type, s}, func(l *ast.CompositeLit) { found = append(found, l) })
		}
		return true
	})
	return found
}

// visit calls report for literal, and for its elements without a type of their own, where their type is a struct.
func (known types) visit(literal *ast.CompositeLit, of declaration, report func(*ast.CompositeLit)) {
	of = known.underlying(of)
	elements := func(of ast.Expr, s source, pick func(ast.Expr) ast.Expr) {
		for _, element := range literal.Elts {
			if inner, ok := pick(element).(*ast.CompositeLit); ok && inner.Type == nil {
				known.visit(inner, declaration{of, s}, report)
			}
		}
	}
	key := func(element ast.Expr) ast.Expr {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			return pair.Key
		}
		return nil
	}
	value := func(element ast.Expr) ast.Expr {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			return pair.Value
		}
		return element
	}
	switch kind := of.expression.(type) {
	case *ast.ArrayType:
		elements(kind.Elt, of.source, value)
	case *ast.MapType:
		elements(kind.Key, of.source, key)
		elements(kind.Value, of.source, value)
	case *ast.StructType:
		if len(literal.Elts) <= maxPositional {
			return
		}
		if _, named := literal.Elts[0].(*ast.KeyValueExpr); !named {
			report(literal)
		}
	}
}

// underlying follows names, pointers and type arguments to a type literal. The expression is nil if the type is not declared in
// the module.
func (known types) underlying(of declaration) declaration {
	for range 100 { // more than any chain of names; a cycle does not compile
		switch expression := of.expression.(type) {
		case *ast.ParenExpr:
			of.expression = expression.X
		case *ast.StarExpr:
			of.expression = expression.X
		case *ast.IndexExpr:
			of.expression = expression.X
		case *ast.IndexListExpr:
			of.expression = expression.X
		case *ast.Ident:
			of = known[of.source.folder()][expression.Name]
		case *ast.SelectorExpr:
			name, _ := expression.X.(*ast.Ident)
			of = known[imported(of.source, name)][expression.Sel.Name]
		default:
			return of
		}
	}
	return declaration{}
}

// imported returns the folder of the module's package that a file imports under a name, empty if there is no such import.
func imported(s source, name *ast.Ident) string {
	for _, spec := range s.file.Imports {
		location, err := strconv.Unquote(spec.Path.Value)
		folder, inModule := strings.CutPrefix(location, module+"/")
		if err != nil || !inModule || name == nil {
			continue
		}
		if spec.Name != nil && spec.Name.Name == name.Name || spec.Name == nil && path.Base(folder) == name.Name {
			return folder
		}
	}
	return ""
}

func TestPositional(t *testing.T) {
	all := []source{
		parse(t, "internal/a/a.go", "package a\ntype Six struct{ A, B, C, D, E, F int }\ntype Numbers []int"),
		parse(t, "internal/b/b.go", `package b
import "github.com/capvet/capvet/internal/a"
import other "github.com/capvet/capvet/internal/a"
type row[T any] struct{ a, b, c, d, e, f T }
type rows []row[int]
var (
	_ = a.Six{1, 2, 3, 4, 5, 6} // found
	_ = []*other.Six{{1, 2, 3, 4, 5, 6}} // found
	_ = rows{{1, 2, 3, 4, 5, 6}} // found
	_ = map[string][]struct{ a, b, c, d, e, f int }{"x": {{1, 2, 3, 4, 5, 6}}} // found
	_ = map[row[int]]bool{{1, 2, 3, 4, 5, 6}: true} // found
	_ = [...]row[int]{3: {1, 2, 3, 4, 5, 6}} // found
	_ = row[int]{a: 1, b: 2, c: 3, d: 4, e: 5, f: 6}
	_ = []struct{ a, b, c, d, e int }{{1, 2, 3, 4, 5}}
	_ = a.Numbers{1, 2, 3, 4, 5, 6}
	_ = [][]string{{"1", "2", "3", "4", "5", "6"}}
)
func f() {
	type local struct{ a, b, c, d, e, f int }
	_ = []local{{1, 2, 3, 4, 5, 6}} // found
}
`),
	}
	var got, want []string
	for _, literal := range declared(all).positional(all[1]) {
		got = append(got, all[1].line(literal.Pos()))
	}
	for _, group := range all[1].file.Comments {
		want = append(want, all[1].line(group.Pos()))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
