//! Rust enters the kernel itself, as crates without libc do.
#![no_std]
#![no_main]

use core::arch::asm;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[cfg(target_arch = "aarch64")]
unsafe fn syscall2(number: usize, a: usize, b: usize) -> isize {
    let out: isize;
    asm!("svc 0", in("x8") number, inlateout("x0") a => out, in("x1") b);
    out
}

#[cfg(target_arch = "x86_64")]
unsafe fn syscall2(number: usize, a: usize, b: usize) -> isize {
    let out: isize;
    asm!("syscall", inlateout("rax") number => out, in("rdi") a, in("rsi") b, lateout("rcx") _, lateout("r11") _);
    out
}

#[cfg(target_arch = "aarch64")]
const CAPSET: usize = 91;
#[cfg(target_arch = "x86_64")]
const CAPSET: usize = 126;

#[no_mangle]
pub extern "C" fn main() -> i32 {
    let header = Header { version: 0x20080522, pid: 0 };
    let data = [[0u32; 3]; 2];
    unsafe { syscall2(CAPSET, &header as *const Header as usize, data.as_ptr() as usize) as i32 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
