mov x4, #0x330
movk x4, #0x1998, lsl #16
movn x1, #0
mov w8, w0
mov x1, sp
add x1, sp, #40
sub sp, sp, #0x1000
orr x0, x0, #0xff00ff00ff00ff00
orr x0, x1, x2, lsl #32
bfi x0, x1, #32, #32
lsl x0, x1, #32
uxtb w0, w1
stp x4, xzr, [sp]
stp x29, x30, [sp, #-64]!
ldp x29, x30, [sp], #64
str w1, [x0, #4]
stur x1, [x0, #-8]
str x1, [x0, x2, lsl #3]
ldr x1, [x0], #16
ldr q0, [x1, #16]
stp q0, q1, [sp, #32]
str d0, [sp, #192]
movi v0.2s, #0x3c, lsl #8
movi v1.4s, #0
mvni v2.4s, #1
fmov d0, x1
fmov x1, d0
mov v0.d[1], x2
mov v0.s[1], w2
dup v0.4s, w1
csel x0, x1, x2, eq
cset w0, ne
csinc w2, w2, w0, eq
cinv w0, w1, ne
ccmp x0, #0, #0, eq
madd x0, x1, x2, x3
ldaxr w0, [x1]
stlxr w2, w0, [x1]
ldar x0, [x1]
.arch armv8.5-a
ldadd w0, w1, [x2]
cas x0, x1, [x2]
mrs x0, tpidr_el0
bti c
paciasp
autiasp
blr x3
br x17
retaa
svc #0
brk #1
ret
