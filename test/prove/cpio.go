package prove

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// cpioAlign is the alignment of names and contents, in bytes.
const cpioAlign = 4

// WriteInitramfs writes the files of a folder as an uncompressed archive that
// the kernel unpacks at its start (cpio's format newc, see the kernel's
// buffer-format.rst). All belong to root. keep selects files by path within the
// folder; a folder that it rejects is left out with its content.
func WriteInitramfs(w io.Writer, folder string, keep func(path string, entry fs.DirEntry) bool) error {
	inode := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil || name == "." {
			return err
		}
		if !keep(name, entry) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		inode++
		return writeFile(w, path, name, inode)
	})
	if err != nil {
		return err
	}
	return writeEntry(w, cpioEntry{name: "TRAILER!!!"}, nil)
}

func writeFile(w io.Writer, path, name string, inode int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	entry := cpioEntry{name: name, inode: inode, mode: uint32(info.Mode().Perm())}
	var content []byte
	switch info.Mode().Type() {
	case fs.ModeDir:
		entry.mode |= 0o040000
	case 0:
		entry.mode |= 0o100000
		content, err = os.ReadFile(path)
	case fs.ModeSymlink:
		entry.mode |= 0o120000
		var target string
		target, err = os.Readlink(path)
		content = []byte(target)
	default:
		err = fmt.Errorf("%s is a %s, which is not needed", name, info.Mode())
	}
	if err != nil {
		return err
	}
	return writeEntry(w, entry, content)
}

type cpioEntry struct {
	name  string
	inode int
	mode  uint32
}

// writeEntry writes the thirteen numbers, the name and the content. Owner, time
// and devices are 0.
func writeEntry(w io.Writer, entry cpioEntry, content []byte) error {
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		entry.inode, entry.mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(entry.name)+1, 0, entry.name)
	for _, part := range [][]byte{[]byte(header), content} {
		padding := (cpioAlign - len(part)%cpioAlign) % cpioAlign
		if _, err := w.Write(append(part[:len(part):len(part)], make([]byte, padding)...)); err != nil {
			return err
		}
	}
	return nil
}
