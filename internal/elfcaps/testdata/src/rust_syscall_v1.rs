//! Rust calls libc's syscall function through an extern block, with the header
//! on the stack, as the `caps` crate's raw module does.
#![no_std]
#![no_main]

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

#[cfg(target_arch = "aarch64")]
const CAPGET: i64 = 90;
#[cfg(target_arch = "x86_64")]
const CAPGET: i64 = 125;

#[inline(never)]
fn capget(version: u32, pid: i32, data: &mut [[u32; 3]; 2]) -> Result<(), i64> {
    let mut header = Header { version, pid };
    match unsafe { syscall(CAPGET, &mut header as *mut Header, data.as_mut_ptr()) } {
        0 => Ok(()),
        n => Err(n),
    }
}

#[no_mangle]
pub extern "C" fn main(argc: i32) -> i32 {
    let mut data = [[0; 3]; 2];
    match capget(0x19980330, argc - 1, &mut data) {
        Ok(()) => data[0][0] as i32,
        Err(n) => n as i32,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
