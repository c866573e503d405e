endbr64
push %r12
push $0x12
mov $0x19980330,%eax
movq $0x19980330,0x8(%rsp)
movl $0x20080522,-0x10(%rbp)
movabs $0x1122334455667788,%r9
mov %rsp,%rsi
lea 0x8(%rsp),%rdi
lea 0x100(%rip),%rax
mov 0x100(%rip),%rcx
call *0x100(%rip)
jmp *0x100(%rip)
call *%rax
bnd jmp *0x200(%rip)
movaps %xmm0,0x10(%rsp)
movups 0x10(%rip),%xmm9
movdqa %xmm1,%xmm2
movq %rax,%xmm0
movhps 0x8(%rsp),%xmm0
punpcklqdq %xmm1,%xmm0
pinsrd $1,%eax,%xmm0
vmovdqu %ymm0,(%rdi)
vmovq %rax,%xmm3
vpinsrq $1,%rax,%xmm0,%xmm1
vpxor %xmm0,%xmm0,%xmm0
vpaddd %ymm8,%ymm9,%ymm10
vmovdqu64 %zmm0,0x40(%rdi)
kmovq %k1,%rax
rep stosq
rep movsb
lock cmpxchg %rcx,(%rdx)
lock xadd %eax,(%rdi)
test $0x7f,%sil
testl $0x12345678,0x10(%rax,%rbx,4)
imul $0x123,%rdx,%rcx
imul $0x7,%rdx,%rcx
shl $0x20,%rdi
shld $0x4,%rax,%rbx
enter $0x10,$0x1
movzbl %al,%edi
movslq %edi,%rdi
cltq
setne %dil
sbb $-1,%edi
cmovne %rax,%rbx
bt $0x3,%rax
movw $0x1234,(%rax)
mov %fs:0x28,%rax
movabs 0x1122334455667788,%al
nopw 0x0(%rax,%rax,1)
pause
pshufb %xmm1,%xmm0
palignr $0x8,%xmm1,%xmm0
crc32 %rax,%rbx
mulx %rax,%rbx,%rcx
leave
syscall
ud2
ret
