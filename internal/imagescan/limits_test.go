package imagescan

// Unexported constants of package layers.
const (
	smallLayer      = 4 << 20
	spoolBytes      = 32 << 20
	maxBinaries     = 256
	maxText         = 1 << 20
	maxUsers        = 1024
	maxUserBytes    = 256
	maxCommandBytes = 4 << 10

	annotationEStargz      = "containerd.io/snapshot/stargz/toc.digest"
	annotationZstdChecksum = "io.github.containers.zstd-chunked.manifest-checksum"
	annotationZstdPosition = "io.github.containers.zstd-chunked.manifest-position"
	estargzFooter          = 51
	estargzTOC             = "stargz.index.json"
)
