package inflate

import "encoding/binary"

const (
	// symbolBits is the most bits of a length and its distance: 15 and 5, 15 and 13.
	symbolBits = 48
	// spare is the room that decoding needs at the end of the window: two literals,
	// the longest match, and the excess of a copy in strides.
	spare = 2 + 258 + stride
	// stride is the size of a copy, in bytes.
	stride = 16
	// lookahead is the most input that one round of decodeFast loads, in bytes.
	lookahead = 2 * 8
)

// decode decodes a block's symbols, as far as the window has room.
func (z *Reader) decode() error {
	in := &z.input
	for z.written < windowBytes-spare {
		if in.end-in.at >= lookahead {
			if err := z.decodeFast(); err != nil || z.step != inCodes {
				return err
			}
			continue
		}
		// At least the 64 bits of the trailer follow each symbol.
		if err := in.need(symbolBits); err != nil {
			return err
		}
		if err := z.decodeOne(); err != nil || z.step != inCodes {
			return err
		}
	}
	return nil
}

// decodeOne decodes one symbol, whose bits are all loaded.
func (z *Reader) decodeOne() error {
	in := &z.input
	e := z.literals[in.bits&(1<<literalBits-1)]
	if e&subtable == subtable {
		e = z.literals[(uint64(e>>valueShift)+in.bits>>literalBits&(1<<(e>>8&15)-1))&(literalEntries-1)]
	}
	if e&literal != 0 {
		in.drop(uint(e & 0xff))
		z.window[z.written] = byte(e >> valueShift)
		z.written++
		return nil
	}
	if e&special != 0 {
		if e&endBlock != endBlock {
			return ErrCorrupt
		}
		in.drop(uint(e & 0xff))
		z.step = inBlockHeader
		return nil
	}
	length := uint(e>>valueShift) + uint(in.bits&(1<<(e&0xff)-1)>>(e>>8&15))
	in.drop(uint(e & 0xff))
	e = z.distances[in.bits&(1<<distanceBits-1)]
	if e&subtable == subtable {
		e = z.distances[(uint64(e>>valueShift)+in.bits>>distanceBits&(1<<(e>>8&15)-1))&(distanceEntries-1)]
	}
	if e&special != 0 {
		return ErrCorrupt
	}
	distance := uint(e>>valueShift) + uint(in.bits&(1<<(e&0xff)-1)>>(e>>8&15))
	in.drop(uint(e & 0xff))
	if distance > z.written {
		return ErrCorrupt
	}
	for range length {
		z.window[z.written] = z.window[z.written-distance]
		z.written++
	}
	return nil
}

// decodeFast decodes symbols while lookahead bytes of input and room in the window
// remain. It is decodeOne, unrolled for speed: it loads eight bytes at a time, one
// load suffices for three literals or for two and a length, and it copies matches
// in strides. Only the lowest six bits of count are significant: subtracting a
// whole table entry changes the higher ones.
func (z *Reader) decodeFast() error {
	in, window, literals, distances := &z.input, &z.window, &z.literals, &z.distances
	packed, at, last := &in.packed, in.at, in.end-lookahead
	bits, count, written := in.bits, in.count, z.written
	err := error(nil)
	for at <= last && written < windowBytes-spare {
		bits |= binary.LittleEndian.Uint64(packed[at:]) << (count & 63)
		at += (63 - count&63) >> 3
		count = count&63 | 56
		e := literals[bits&(1<<literalBits-1)]
		if e&literal != 0 {
			bits >>= e & 63
			count -= uint(e)
			window[written] = byte(e >> valueShift)
			written++
			e = literals[bits&(1<<literalBits-1)]
			if e&literal != 0 {
				bits >>= e & 63
				count -= uint(e)
				window[written] = byte(e >> valueShift)
				written++
				e = literals[bits&(1<<literalBits-1)]
			}
		}
		if e&special != 0 {
			if e&subtable == subtable {
				e = literals[(uint64(e>>valueShift)+bits>>literalBits&(1<<(e>>8&15)-1))&(literalEntries-1)]
			}
			if e&literal == 0 && e&special != 0 {
				if e&endBlock != endBlock {
					err = ErrCorrupt
					break
				}
				bits >>= e & 63
				count -= uint(e)
				z.step = inBlockHeader
				break
			}
		}
		if e&literal != 0 {
			bits >>= e & 63
			count -= uint(e)
			window[written] = byte(e >> valueShift)
			written++
			continue
		}
		length := uint(e>>valueShift) + uint(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		count -= uint(e)

		bits |= binary.LittleEndian.Uint64(packed[at:]) << (count & 63)
		at += (63 - count&63) >> 3
		count = count&63 | 56
		e = distances[bits&(1<<distanceBits-1)]
		if e&special != 0 {
			if e&subtable == subtable {
				e = distances[(uint64(e>>valueShift)+bits>>distanceBits&(1<<(e>>8&15)-1))&(distanceEntries-1)]
			}
			if e&special != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := uint(e>>valueShift) + uint(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		count -= uint(e)
		if distance > written {
			err = ErrCorrupt
			break
		}
		from, end := written-distance, written+length
		if distance >= 8 {
			for {
				to, of := window[written:written+stride], window[from:from+stride]
				binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(of))
				binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(of[8:]))
				written += stride
				from += stride
				if written >= end {
					break
				}
			}
		} else {
			// A repeating pattern: fill a word with it, and write the word repeatedly.
			pattern := binary.LittleEndian.Uint64(window[from:]) & (1<<(distance*8) - 1)
			for filled := distance; filled < 8; filled *= 2 {
				pattern |= pattern << (filled * 8)
			}
			for step := 8 - 8%distance; written < end; written += step {
				binary.LittleEndian.PutUint64(window[written:], pattern)
			}
		}
		written = end
	}
	in.at, in.bits, in.count, z.written = at, bits&(1<<(count&63)-1), count&63, written
	return err
}
