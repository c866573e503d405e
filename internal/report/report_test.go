package report

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWorseABI(t *testing.T) {
	// The order is a contract: v1, v2, unknown, negotiated, v3, library, none.
	order := []ABI{ABIV1, ABIV2, ABIUnknown, ABINegotiated, ABIV3, ABILibrary, ABINone}
	for i, worse := range order {
		for _, better := range order[i:] {
			if got := WorseABI(worse, better); got != worse {
				t.Errorf("WorseABI(%s, %s) = %s", worse, better, got)
			}
			if got := WorseABI(better, worse); got != worse {
				t.Errorf("WorseABI(%s, %s) = %s", better, worse, got)
			}
		}
	}
	if got := WorseABI("nonsense", ABINegotiated); got == ABINegotiated {
		t.Errorf("a value that is no ABI ranks as better than %s", got)
	}
}

// TestJSON pins the field names of schema version 1.
func TestJSON(t *testing.T) {
	r := New()
	r.Image, r.Reference, r.Platform = "example.com/a@sha256:00", "example.com/a:1", "linux/arm64"
	r.Binaries = append(r.Binaries, Binary{
		Path: "/usr/sbin/haproxy", SHA256: "ab", Size: 1, Layer: "sha256:cd", Machine: "arm64",
		Other: true, Libc: LibcGlibc, Linkage: LinkageDynamic, PIE: true, Stripped: true, BuildID: "ef",
		Product: &Product{Name: "haproxy", Version: "3.0.11", Basis: "symbol"},
		Capset: Capset{ABI: ABIV1, Basis: BasisCode, Calls: []Call{{
			Syscall: "capget", ABI: ABIV1, Function: "f", Address: "0x1", Via: "syscall", Header: "stack"}},
			Libraries: []Library{{Name: "libcap.so.2", Path: "/lib/libcap.so.2", ABI: ABINegotiated}}},
		Trigger: &Trigger{When: WhenStart, Why: "w"}, Advice: "a",
	})
	r.Gaps = append(r.Gaps, Gap{Where: "x", Reason: "y", Detail: "z", Other: true})
	r.Settings = []Settings{{Path: "/p", File: "/f", User: true}}
	r.Configuration = &Configuration{User: "99", Entrypoint: []string{"e"}, Command: []string{"c"}}
	r.Complete = false
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":1,"image":"example.com/a@sha256:00","reference":"example.com/a:1","platform":"linux/arm64",` +
		`"configuration":{"user":"99","entrypoint":["e"],"command":["c"]},"settings":[{"path":"/p","file":"/f","user":true,"setcap":false}],` +
		`"binaries":[{"path":"/usr/sbin/haproxy","sha256":"ab","size":1,"layer":"sha256:cd","machine":"arm64","libc":"glibc",` +
		`"linkage":"dynamic","pie":true,"stripped":true,"buildID":"ef","other":true,` +
		`"product":{"name":"haproxy","version":"3.0.11","basis":"symbol"},` +
		`"capset":{"abi":"v1","basis":"code","calls":[{"syscall":"capget","abi":"v1","function":"f",` +
		`"address":"0x1","via":"syscall","header":"stack"}],` +
		`"libraries":[{"name":"libcap.so.2","path":"/lib/libcap.so.2","abi":"negotiated"}]},` +
		`"trigger":{"when":"start","why":"w"},"advice":"a"}],"complete":false,"gaps":[{"where":"x","reason":"y","detail":"z","other":true}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON changed (-want +got):\n%s", diff)
	}
	empty, err := json.Marshal(New())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"schemaVersion":1,"binaries":[],"complete":true,"gaps":[]}`; string(empty) != want {
		t.Errorf("empty report is %s, want %s", empty, want)
	}
}
