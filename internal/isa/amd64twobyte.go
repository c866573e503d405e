package isa

// twoByte decodes the opcode map 0f.
func (x *amd64Insn) twoByte(pc uint64, in *Insn) {
	b, width := x.op, x.width()
	switch {
	case b == 0x05: // syscall
		in.Flow = FlowSyscall
	case b == 0x0b || b == 0xb9 || b == 0xff: // ud2, ud1, ud0
		in.Flow = FlowStop
	case b >= 0x80 && b <= 0x8f && !x.vex: // jcc
		in.Flow, in.Target = FlowBranch, pc+uint64(x.length)+uint64(x.imm)
	case b >= 0x40 && b <= 0x4f && !x.vex: // cmov
		in.op(Operation{Code: OpSelect, Width: width, Dst: x.reg(), A: x.reg(), B: x.source(in, width)})
	case b == 0xb6 || b == 0xb7: // movzx
		n := b - 0xb5
		switch {
		case x.isMem():
			in.op(x.mem(OpLoad, n, x.reg()))
		case n == 1 && x.rex == 0 && x.rm() >= 4: // ah, ch, dh, bh
			in.kill(x.reg())
		default:
			in.op(Operation{Code: OpExtend, Width: n, Dst: x.reg(), A: x.rm()})
		}
	case b == 0xbe || b == 0xbf || b == 0xaf || b == 0xbc || b == 0xbd || b == 0xb8 || b == 0x02 || b == 0x03:
		in.kill(x.reg()) // movsx, imul, bit scans, lar, lsl
	case b == 0xa2: // cpuid
		for _, r := range [...]Reg{rax, rcx, rdx, rbx} {
			in.kill(r)
		}
	case b == 0x31: // rdtsc
		in.kill(rax)
		in.kill(rdx)
	case b == 0x18 || b == 0x19 || b == 0x1c || b == 0x1d || b == 0x1f || b == 0x0d: // nops, prefetch
	case b == 0x1e:
		if x.rep && x.modrm >= 0xc8 && x.modrm < 0xd0 {
			in.kill(x.rm()) // rdssp; the others are endbr and nops
		}
	case b >= 0x90 && b <= 0x9f && !x.vex: // setcc: compilers clear the register first
		if x.isMem() {
			x.killRM(in, 1)
		} else {
			in.op(Operation{Code: OpFlag, Width: 8, Dst: x.rm()})
		}
	case b == 0xb0 || b == 0xb1: // cmpxchg
		in.kill(rax)
		x.killRM(in, width)
	case b == 0xc0 || b == 0xc1: // xadd
		in.kill(x.reg())
		x.killRM(in, width)
	case b >= 0xc8 && b <= 0xcf: // bswap
		in.kill(x.opcodeReg())
	case b == 0xba && x.ext() == 4, b == 0xa3: // bt
	case b == 0xba || b == 0xab || b == 0xb3 || b == 0xbb || b == 0xa4 || b == 0xa5 || b == 0xac || b == 0xad:
		x.killRM(in, width) // btc, bts, btr, shld, shrd
	case b == 0xc3: // movnti
		x.store(in, x.reg(), width)
	case b == 0xc7 && x.isMem(): // cmpxchg8b and its group
		in.kill(rax)
		in.kill(rdx)
	default:
		x.vector(in)
	}
}
