package inflate

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
)

// Block types (RFC 1951, 3.2.3).
const (
	storedBlock = iota
	fixedBlock
	dynamicBlock
)

// blockHeader reads a block's header, including its codes.
func (z *Reader) blockHeader() error {
	if z.final {
		z.final, z.step = false, inTrailer
		return nil
	}
	header, err := z.input.take(3)
	if err != nil {
		return err
	}
	z.final = header&1 != 0
	switch header >> 1 {
	case storedBlock:
		return z.storedHeader()
	case fixedBlock:
		z.fixedCodes()
	case dynamicBlock:
		if err := z.dynamicCodes(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	z.step = inCodes
	return nil
}

func (z *Reader) storedHeader() error {
	z.input.align()
	var b [4]byte
	if _, err := io.ReadFull(&z.input, b[:]); err != nil {
		return err
	}
	length, complement := binary.LittleEndian.Uint16(b[:]), binary.LittleEndian.Uint16(b[2:])
	if complement != ^length {
		return ErrCorrupt
	}
	z.step, z.stored = inStored, uint(length)
	return nil
}

// copyStored copies a stored block, as far as the window has room.
func (z *Reader) copyStored() error {
	for z.stored > 0 {
		room := z.window[z.written:min(z.written+z.stored, windowBytes-spare)]
		if len(room) == 0 {
			return nil
		}
		n, err := z.input.Read(room)
		z.written += uint(n)
		z.stored -= uint(n)
		if err != nil {
			return err
		}
	}
	z.step = inBlockHeader
	return nil
}

// fixedCodes builds the tables of the fixed codes (RFC 1951, 3.2.6).
func (z *Reader) fixedCodes() {
	if z.fixed {
		return
	}
	z.fixed = true
	eight, nine, seven := bytes.Repeat([]byte{8}, 144), bytes.Repeat([]byte{9}, 112), bytes.Repeat([]byte{7}, 24)
	build(z.literals[:], literalBits, slices.Concat(eight, nine, seven, eight[:8]), z.symbols.literals)
	build(z.distances[:], distanceBits, bytes.Repeat([]byte{5}, 32), z.symbols.distances)
}

// Symbols of the code length alphabet (RFC 1951, 3.2.7).
const (
	repeatLast  = 16
	zeroes      = 17
	manyZeroes  = 18
	lengthCodes = 19
)

// dynamicCodes reads a block's own codes (RFC 1951, 3.2.7).
func (z *Reader) dynamicCodes() error {
	z.fixed = false
	header, err := z.input.take(14)
	if err != nil {
		return err
	}
	literals, distances, codes := header&31+257, header>>5&31+1, header>>10+4
	if literals > maxLiterals || distances > maxDistances {
		return ErrCorrupt
	}
	var lengths [maxLiterals + maxDistances]uint8
	order := [lengthCodes]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, symbol := range order[:codes] {
		n, err := z.input.take(3)
		if err != nil {
			return err
		}
		lengths[symbol] = uint8(n)
	}
	var table [lengthEntries]uint32
	if !build(table[:], lengthBits, lengths[:lengthCodes], z.symbols.plain) {
		return ErrCorrupt
	}
	clear(lengths[:lengthCodes])
	all := lengths[:literals+distances]
	for i := 0; i < len(all); {
		// At least one code word and the 64 bits of the trailer follow.
		if err := z.input.need(lengthBits + 7); err != nil {
			return err
		}
		e := table[z.input.bits&(1<<lengthBits-1)]
		if e&invalid == invalid {
			return ErrCorrupt
		}
		z.input.drop(uint(e & 0xff))
		times, length := uint(1), uint8(e>>valueShift)
		switch length {
		case repeatLast:
			if i == 0 {
				return ErrCorrupt
			}
			times, length = 3+uint(z.input.bits&3), all[i-1]
			z.input.drop(2)
		case zeroes:
			times, length = 3+uint(z.input.bits&7), 0
			z.input.drop(3)
		case manyZeroes:
			times, length = 11+uint(z.input.bits&127), 0
			z.input.drop(7)
		}
		if times > uint(len(all)-i) {
			return ErrCorrupt
		}
		for range times {
			all[i] = length
			i++
		}
	}
	if !build(z.literals[:], literalBits, all[:literals], z.symbols.literals) ||
		!build(z.distances[:], distanceBits, all[literals:], z.symbols.distances) {
		return ErrCorrupt
	}
	return nil
}
