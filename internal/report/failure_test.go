package report

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// TestFailureClasses: every constant of the type is listed, but for the class that policies
// cannot name.
func TestFailureClasses(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "failure.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []FailureClass
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "FailureClass" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, FailureClass(value))
		}
		return true
	})
	listed := append(FailureClasses(), FailureInternal)
	if !slices.Equal(declared, listed) {
		t.Errorf("declared %q, listed %q", declared, listed)
	}
}

type classed FailureClass

func (c classed) Error() string              { return string(c) }
func (c classed) FailureClass() FailureClass { return FailureClass(c) }

func TestClassOf(t *testing.T) {
	for _, tt := range []struct {
		err     error
		class   FailureClass
		classed bool
	}{
		{fmt.Errorf("x: %w", classed(FailureBlocked)), FailureBlocked, true},
		{errors.Join(errors.New("x"), classed(FailureInternal)), FailureInternal, true},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), FailureTimeout, true},
		{context.Canceled, FailureInternal, false},
		{errors.New("x"), FailureInternal, false},
	} {
		if class, ok := ClassOf(tt.err); class != tt.class || ok != tt.classed {
			t.Errorf("%v: %s, %v", tt.err, class, ok)
		}
	}
}
