package main

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/inflate"
)

// floorCommand makes this program do the least that reading layers takes.
const floorCommand = "floor"

// floor downloads blobs, one per core at a time, verifies and unpacks them, and
// walks their tar entries.
func floor(ctx context.Context, urls []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := len(urls) - 1; i >= 0; i-- {
		group.Go(func() error { return walk(ctx, urls[i]) })
	}
	return group.Wait()
}

func walk(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableCompression: true}}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum := sha256.New()
	packed := bufio.NewReaderSize(io.TeeReader(response.Body, sum), 256<<10)
	magic, err := packed.Peek(2)
	if err != nil {
		return err
	}
	var unpacked io.Reader
	if magic[0] == 0x1f {
		unpacked = inflate.NewReader(packed)
	} else {
		unpacked, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		return err
	}
	for entries := tar.NewReader(unpacked); ; {
		if _, err := entries.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	for _, rest := range []io.Reader{unpacked, packed} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); got != path.Base(url) {
		return fmt.Errorf("%s has the digest %s", url, got)
	}
	return nil
}
