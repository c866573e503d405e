package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/capvet/capvet/test/debian"
)

// File is one entry of a layer. At most one of Data, Symlink, Hardlink and Content
// is set. Without any it is an empty file, or with fs.ModeDir in Mode a directory.
type File struct {
	Path     string      // slash-separated; a leading slash is ignored
	Mode     fs.FileMode // 0 is 0o644, 0o755 for a directory
	Data     []byte
	Symlink  string // the link's target
	Hardlink string // the path of another entry
	// Content gives a fresh reader for each build, of which Size bytes are read.
	Content func() io.Reader
	Size    int64
}

// Whiteout is the entry that removes the file at name from the layers below.
func Whiteout(name string) File {
	dir, base := path.Split(path.Clean("/" + name))
	return File{Path: dir + ".wh." + base}
}

// Opaque is the entry that removes all that the layers below have in dir.
func Opaque(dir string) File { return File{Path: path.Join("/", dir, ".wh..wh..opq")} }

// Zeros returns a file of zeros, which makes a layer that is small to fetch and
// large to read. size is in bytes.
func Zeros(name string, size int64) File {
	return File{Path: name, Size: size, Content: func() io.Reader { return zeros{} }}
}

// Noise is a file that does not compress: a layer that is large to fetch. size
// is in bytes; the same seed gives the same file.
func Noise(name string, size int64, seed byte) File {
	return File{Path: name, Size: size, Content: func() io.Reader { return rand.NewChaCha8([32]byte{seed}) }}
}

// zeros is an endless reader of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (l Layer) build(ctx context.Context) (v1.Layer, error) {
	mediaType := l.MediaType
	if mediaType == "" {
		mediaType = types.OCILayer
	}
	var blob bytes.Buffer
	var compressor io.WriteCloser
	var err error
	switch mediaType {
	case types.OCILayer, types.DockerLayer:
		compressor, err = gzip.NewWriterLevel(&blob, gzip.BestSpeed)
	case types.OCILayerZStd:
		compressor, err = zstd.NewWriter(&blob, zstd.WithEncoderConcurrency(1))
	default:
		err = fmt.Errorf("layers of media type %s are not built here", mediaType)
	}
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(compressor)
	directories := map[string]bool{}
	for _, deb := range l.Debs {
		if err := copyDeb(ctx, archive, deb, directories); err != nil {
			return nil, err
		}
	}
	for _, file := range l.Files {
		if err := file.write(archive); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Path, err)
		}
	}
	if err := errors.Join(archive.Close(), compressor.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(blob.Bytes())), nil
	}, tarball.WithMediaType(mediaType))
	if err != nil {
		return nil, err
	}
	return plainLayer{layer}, nil
}

// plainLayer hides the descriptor that tarball's layers bring along, whose empty
// annotations do not survive the way through JSON.
type plainLayer struct{ v1.Layer }

// copyDeb re-emits a package's files as a builder would: paths without ./, no
// names of users, no directory that is in directories already.
func copyDeb(ctx context.Context, archive *tar.Writer, deb string, directories map[string]bool) (err error) {
	stream, err := debian.Filesystem(ctx, deb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	files := tar.NewReader(stream)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			// Read past the archive's end, to notice the end of the process.
			_, err = io.Copy(io.Discard, stream)
			return err
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", deb, err)
		}
		name := entryName(header.Name)
		if name == "" {
			continue
		}
		if header.Typeflag == tar.TypeDir {
			if directories[name] {
				continue
			}
			directories[name] = true
			name += "/"
		}
		entry := &tar.Header{
			Typeflag: header.Typeflag, Name: name, Linkname: header.Linkname, Size: header.Size,
			Mode: header.Mode, Uid: header.Uid, Gid: header.Gid, ModTime: header.ModTime,
		}
		if header.Typeflag == tar.TypeLink {
			entry.Linkname = entryName(header.Linkname)
		}
		if err := archive.WriteHeader(entry); err != nil {
			return err
		}
		if _, err := io.Copy(archive, files); err != nil {
			return fmt.Errorf("reading %s: %w", deb, err)
		}
	}
}

func (f File) write(archive *tar.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: entryName(f.Path), Mode: int64(f.Mode.Perm()), ModTime: created.Time}
	var content io.Reader
	switch {
	case f.Symlink != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Symlink, 0o777
	case f.Hardlink != "":
		header.Typeflag, header.Linkname = tar.TypeLink, entryName(f.Hardlink)
	case f.Mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case f.Content != nil:
		content, header.Size = f.Content(), f.Size
	default:
		content, header.Size = bytes.NewReader(f.Data), int64(len(f.Data))
	}
	if header.Mode == 0 {
		header.Mode = 0o644
		if f.Mode.IsDir() {
			header.Mode = 0o755
		}
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if header.Size == 0 {
		return nil
	}
	_, err := io.CopyN(archive, content, header.Size)
	return err
}

// entryName is a path as layers have it: relative, clean, "" for the root.
func entryName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
