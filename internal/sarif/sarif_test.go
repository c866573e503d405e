package sarif

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	err := Write(&b, Tool{Name: "t", Rules: []Rule{{"a", "A.", "Do."}, {"b", "B.", "Do."}}}, []Result{
		{"b", LevelError, "m", "./dir/a file.yaml", 7},
		{"a", LevelNote, "n", "/abs", 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0","runs":[{"tool":{"driver":{"name":"t","rules":[` +
		`{"id":"a","shortDescription":{"text":"A."},"help":{"text":"Do."}},` +
		`{"id":"b","shortDescription":{"text":"B."},"help":{"text":"Do."}}]}},"results":[` +
		`{"ruleId":"b","ruleIndex":1,"level":"error","message":{"text":"m"},` +
		`"locations":[{"physicalLocation":{"artifactLocation":{"uri":"dir/a%20file.yaml"},"region":{"startLine":7}}}]},` +
		`{"ruleId":"a","ruleIndex":0,"level":"note","message":{"text":"n"},` +
		`"locations":[{"physicalLocation":{"artifactLocation":{"uri":"file:///abs"}}}]}]}]}`
	squeeze := strings.NewReplacer("\n", "", "  ", "", `": `, `":`)
	if diff := cmp.Diff(want, squeeze.Replace(b.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
