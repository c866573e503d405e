package prove

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteInitramfs(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"d", "left"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name, "file"), []byte("hello"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("d/file", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	keep := func(path string, _ fs.DirEntry) bool { return path != "left" }
	if err := WriteInitramfs(&archive, folder, keep); err != nil {
		t.Fatal(err)
	}
	zeros := strings.Repeat("0", 8)
	numbers := func(inode, mode, size, name string) string {
		return "070701" + inode + mode + zeros + zeros + "00000001" + zeros + size + strings.Repeat(zeros, 4) + name + zeros
	}
	want := numbers("00000001", "000041ed", zeros, "00000002") + "d\x00" +
		numbers("00000002", "000081ed", "00000005", "00000007") + "d/file\x00\x00\x00\x00" + "hello\x00\x00\x00" +
		numbers("00000003", "0000a1ff", "00000006", "00000005") + "link\x00\x00" + "d/file\x00\x00" +
		numbers(zeros, zeros, zeros, "0000000b") + "TRAILER!!!\x00\x00\x00\x00"
	if diff := cmp.Diff(want, archive.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if archive.Len()%4 != 0 {
		t.Errorf("%d bytes", archive.Len())
	}
}
