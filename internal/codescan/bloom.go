package codescan

import "math/bits"

// bloom is a Bloom filter of 65,536 bits with one hash function.
type bloom [1024]uint64

func (b *bloom) add(v uint64) { i := bloomHash(v); b[i>>6] |= 1 << (i & 63) }

// mayContain reports false only if v was not added.
func (b *bloom) mayContain(v uint64) bool {
	i := bloomHash(v)
	return b[i>>6]>>(i&63)&1 != 0
}

func bloomHash(v uint64) uint64 { return bits.RotateLeft64(v*0x9e3779b97f4a7c15, 16) & 0xffff }
