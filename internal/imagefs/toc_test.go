package imagefs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sha(content string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))) }

func bins(name string) bool { return strings.HasPrefix(name, "/bin/") }

// TestReadTOC: entries become a layer, and selected files get the ranges of their
// content.
func TestReadTOC(t *testing.T) {
	table := `{"version":1,"x":{"entries":[1]},"entries":[
		{"name":"./bin/","type":"dir"},
		{"name":"bin/","type":"dir"},
		{"name":"bin//a","type":"reg","size":5,"offset":10,"innerOffset":3,"digest":"` + sha("hello") + `",
		 "xattrs":{"security.capability":"AQAAAgAQAAAAAAAAAAAAAAAAAAA="}},
		{"name":"other","type":"reg","size":5,"offset":10},
		{"name":"bin/empty","type":"reg"},
		{"name":"bin/b","type":"reg","size":10,"offset":40,"endOffset":70,"chunkSize":4,"digest":"` + sha("helloworld") + `"},
		{"name":"bin/b","type":"chunk","offset":50,"chunkOffset":4,"chunkDigest":"` + sha("oworld") + `"},
		{"name":"etc/.wh.gone","type":"reg"},
		{"name":"bin/l","type":"symlink","linkName":"a"},
		{"name":"bin/h","type":"hardlink","linkName":"bin/b"},
		{"name":"dev/null","type":"char"},
		{"name":"bin/last","type":"reg","size":1,"offset":90,"chunkDigest":"` + sha("x") + `"}]}
	`
	layer, files, err := ReadTOC(strings.NewReader(table), Limits{}, 100, bins)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprintf("%s %d [%d:%d] %s", f.At.Path, f.Size, f.Start, f.End, f.Capabilities))
	}
	want := []string{"/bin/a 5 [10:40] cap_net_admin=ep", "/bin/empty 0 [0:0] ", "/bin/b 10 [40:70] ", "/bin/last 1 [90:100] "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tree := NewTree([]*Layer{layer}, NewSteps(DefaultSteps))
	for name, want := range map[string]string{"/bin/l": "/bin/a", "/bin/h": "/bin/b", "/bin/last": "/bin/last", "/dev/null": ""} {
		if f, _ := tree.Lookup(name); f.Source.Path != want {
			t.Errorf("%s leads to %q, want %q", name, f.Source.Path, want)
		}
	}
	if !layer.parts[0].removed[hashOf("/etc/gone")] {
		t.Error("the whiteout is lost")
	}
}

// TestHostileTOCs: an ambiguous or too expensive table is an error.
func TestHostileTOCs(t *testing.T) {
	list := func(entries ...string) string { return `{"entries":[` + strings.Join(entries, ",") + `]}` }
	a := `{"name":"bin/a","type":"reg","size":5,"offset":10,"digest":"` + sha("hello") + `"}`
	with := func(fields string) string { return list(`{"name":"bin/a","type":"reg",` + fields + `}`) }
	digest := `"digest":"` + sha("hello") + `"`
	for name, tt := range map[string]struct {
		table string
		want  error
	}{
		"no JSON":            {"x", ErrMalformed},
		"nothing":            {"", ErrMalformed},
		"no object":          {"[]", ErrMalformed},
		"cut off":            {`{"entries":[` + a, ErrMalformed},
		"something after":    {list(a) + "{}", ErrMalformed},
		"two lists":          {`{"entries":[],"Entries":[]}`, ErrMalformed},
		"no list":            {`{"entries":{}}`, ErrMalformed},
		"an unknown type":    {list(`{"name":"x","type":"socket"}`), ErrMalformed},
		"twice":              {list(a, a), ErrMalformed},
		"twice, spelled":     {list(a, `{"name":"./bin/x/../a","type":"reg"}`), ErrMalformed},
		"a file, then a dir": {list(a, `{"name":"bin/a","type":"dir"}`), ErrMalformed},
		"an orphaned chunk":  {list(`{"name":"bin/a","type":"chunk"}`), ErrMalformed},
		"another's chunk":    {list(a, `{"name":"bin/b","type":"chunk"}`), ErrMalformed},
		"no digest":          {with(`"size":5,"offset":10`), ErrMalformed},
		"a weak digest":      {with(`"size":5,"offset":10,"digest":"md5:00"`), ErrMalformed},
		"a negative size":    {with(`"size":-5,"offset":10,` + digest), ErrMalformed},
		"a negative offset":  {with(`"size":5,"offset":-10,` + digest), ErrMalformed},
		"too far in":         {with(`"size":5,"offset":10,"innerOffset":9999999999,` + digest), ErrMalformed},
		"past the end":       {with(`"size":5,"offset":100,` + digest), ErrMalformed},
		"ends past the end":  {with(`"size":5,"offset":10,"endOffset":101,` + digest), ErrMalformed},
		"ends before":        {with(`"size":5,"offset":10,"endOffset":9,` + digest), ErrMalformed},
		"a short chunk":      {with(`"size":5,"offset":10,"chunkSize":4,` + digest), ErrMalformed},
		"a long chunk":       {with(`"size":5,"offset":10,"chunkSize":9223372036854775807,` + digest), ErrMalformed},
		"chunks with a gap": {list(`{"name":"bin/a","type":"reg","size":5,"offset":10,"chunkSize":2,`+digest+`}`,
			`{"name":"bin/a","type":"chunk","offset":12,"chunkOffset":3}`), ErrMalformed},
		"chunks over others": {list(`{"name":"bin/a","type":"reg","size":5,"offset":10,"chunkSize":3,`+digest+`}`,
			`{"name":"bin/a","type":"chunk","offset":12,"chunkOffset":2}`), ErrMalformed},
		"too many entries": {list(strings.Repeat(`{"name":"x","type":"dir"},`, 20) + a), ErrTooLarge},
		"too many chunks":  {list(a + strings.Repeat(`,{"name":"bin/a","type":"chunk"}`, 20)), ErrTooLarge},
		"too many files": {list(`{"name":"bin/a","type":"reg"}`, `{"name":"bin/b","type":"reg"}`, `{"name":"bin/c","type":"reg"}`),
			ErrTooLarge},
		"a long name":  {list(`{"name":"` + strings.Repeat("x", 5000) + `","type":"dir"}`), ErrTooLarge},
		"a huge entry": {list(`{"name":"` + strings.Repeat("x", 3<<20) + `","type":"dir"}`), ErrTooLarge},
		"a huge key":   {`{"` + strings.Repeat("x", 3<<20) + `":1}`, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ReadTOC(strings.NewReader(tt.table), Limits{Entries: 10, Files: 2}, 100, bins)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, _, err := ReadTOC(strings.NewReader(list(a)), Limits{Entries: 10, Files: 2}, 100, bins); err != nil {
		t.Errorf("what the cases vary is refused itself: %v", err)
	}
}

// TestTOCContent: content with a wrong digest is never returned in full.
func TestTOCContent(t *testing.T) {
	read := func(digest, first, second, stored string) (string, error) {
		t.Helper()
		_, files, err := ReadTOC(strings.NewReader(fmt.Sprintf(`{"entries":[
			{"name":"bin/a","type":"reg","size":10,"offset":0,"innerOffset":2,"chunkSize":4,"digest":%q,"chunkDigest":%q},
			{"name":"bin/a","type":"chunk","offset":0,"chunkOffset":4,"chunkDigest":%q}]}`, digest, first, second)), Limits{}, 50, bins)
		if err != nil {
			t.Fatal(err)
		}
		content, err := files[0].Content(strings.NewReader(stored), Limits{}, nil)
		if err != nil {
			return "", err
		}
		defer content.Close()
		all, err := io.ReadAll(content)
		return string(all), err
	}
	whole, first, second := sha("helloworld"), sha("hell"), sha("oworld")
	for _, stored := range []string{"--helloworld", "--helloworld and more", string(packGzip([]byte("--helloworldmore")))} {
		if got, err := read(whole, first, second, stored); got != "helloworld" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if got, err := read("", first, second, "--helloworld"); got != "helloworld" || err != nil {
		t.Errorf("by its chunks alone: got %q, %v", got, err)
	}
	for name, got := range map[string][4]string{
		"another whole":        {first, first, second, "--helloworld"},
		"another first chunk":  {whole, second, second, "--helloworld"},
		"another second chunk": {whole, first, first, "--helloworld"},
		"other content":        {whole, first, second, "--helloWorld"},
		"short":                {whole, first, second, "--hello"},
		"shorter":              {whole, first, second, "-"},
		"packed badly":         {whole, first, second, "\x1f\x8b\x08 nonsense"},
	} {
		content, err := read(got[0], got[1], got[2], got[3])
		if !errors.Is(err, ErrMalformed) || len(content) >= len("helloworld") {
			t.Errorf("%s: got %q, %v", name, content, err)
		}
	}
}

// FuzzReadTOC: no table causes a panic or a file out of bounds.
func FuzzReadTOC(f *testing.F) {
	f.Add([]byte(`{"entries":[{"name":"bin/a","type":"reg","size":5,"offset":10,"digest":"` + sha("hello") + `"},
		{"name":"bin/b","type":"hardlink","linkName":"bin/a"}]}`))
	f.Add([]byte(`{"entries":[{"name":"bin/a","type":"reg","size":9,"offset":1,"chunkSize":4,"chunkDigest":"` + sha("hell") + `"},
		{"name":"bin/a","type":"chunk","chunkOffset":4,"chunkDigest":"` + sha("o") + `"}]}`))
	f.Fuzz(func(t *testing.T, table []byte) {
		layer, files, err := ReadTOC(strings.NewReader(string(table)), Limits{Entries: 100}, 100, bins)
		if err != nil {
			return
		}
		NewTree([]*Layer{layer}, NewSteps(DefaultSteps)).Lookup("/bin/a")
		for _, file := range files {
			total := int64(0)
			for _, c := range file.chunks {
				total += c.size
			}
			if total != file.Size || file.Start < 0 || file.Start > file.End || file.End > 100 || file.Size > 0 && file.Start == file.End {
				t.Errorf("%+v", file)
			}
		}
	})
}
