#!/bin/sh
# Builds the fixtures of this folder from src/. Each is named
# MACHINE_CASE_ABI_FLAGS; ABI is the verdict that it must get.
# Made with gcc 12.2 and gcc-aarch64-linux-gnu 12.2 (Debian bookworm) and
# musl-tools 1.2.3, and rustc 1.63. Other compilers make other bytes: SHA256SUMS says which
# were committed.
set -eu
cd "$(dirname "$0")"
rm -rf bin && mkdir bin
small="-w -Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code -Wl,--build-id=none -fno-ident -s"
# What stands in for libcap, and a program that asks for it.
gcc $small -O2 -shared -fPIC -Wl,-soname,libcap.so.2 src/libcap_v1.so.c -o bin/amd64_libcap_v1_O2
aarch64-linux-gnu-gcc $small -O2 -shared -fPIC -Wl,-soname,libcap.so.2 src/libcap_v1.so.c -o bin/arm64_libcap_v1_O2
for src in src/*.c; do
  name=$(basename "$src" .c)
  against=
  case $name in
    *.so) continue ;;
    uses_libcap_*) against=libcap_v1_O2 ;;
  esac
  gcc $small -O2 "$src" -o "bin/amd64_${name}_O2" ${against:+"bin/amd64_$against"}
  aarch64-linux-gnu-gcc $small -O2 "$src" -o "bin/arm64_${name}_O2" ${against:+"bin/arm64_$against"}
done
for name in two_levels_v1 helper_fills_v1 either_v1 return_struct_v1; do
  gcc $small -O0 "src/$name.c" -o "bin/amd64_${name}_O0"
  aarch64-linux-gnu-gcc $small -O0 "src/$name.c" -o "bin/arm64_${name}_O0"
done
for name in heap_v1 ctx_struct_v3 switch_v1; do
  gcc $small -O2 -fno-plt -march=x86-64-v3 "src/$name.c" -o "bin/amd64_${name}_noplt"
  aarch64-linux-gnu-gcc $small -O2 -fno-plt -mbranch-protection=standard "src/$name.c" -o "bin/arm64_${name}_noplt"
done
# Libraries call their own functions through stubs, and find thread-local data by
# a call. A text may stand at the very beginning of their data.
for name in ctx_struct_v3 tls_fill_v1 dlsym_kept_unknown; do
  gcc $small -O2 -shared -fPIC "src/$name.c" -o "bin/amd64_${name}_shared"
  aarch64-linux-gnu-gcc $small -O2 -shared -fPIC "src/$name.c" -o "bin/arm64_${name}_shared"
done
for name in bss_init_elsewhere_v1 libc_capset_v2 static_none; do
  musl-gcc $small -Os -static -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu "src/$name.c" -o "bin/amd64_${name}_musl"
done
# Linkage stubs of other linkers (mold 1.10, lld 14).
clang $small -O2 -fuse-ld=mold src/two_levels_v1.c -o bin/amd64_two_levels_v1_mold
clang $small -O2 -fuse-ld=lld -Wl,-z,retpolineplt src/two_levels_v1.c -o bin/amd64_two_levels_v1_retpoline
# An address that does not move, in an instruction of its own.
gcc $small -O2 -mcmodel=large -fno-pie -no-pie src/two_levels_v1.c -o bin/amd64_two_levels_v1_large
for src in src/*.rs; do
  name=$(basename "$src" .rs)
  rust="--edition 2021 -C opt-level=2 -C panic=abort -C link-arg=-Wl,-z,max-page-size=4096 -C link-arg=-Wl,-z,noseparate-code -C link-arg=-Wl,--build-id=none -C link-arg=-s"
  rustc $rust -C linker=gcc --target x86_64-unknown-linux-gnu "$src" -o "bin/amd64_${name}_O2" -C link-arg=-lc
  rustc $rust -C linker=aarch64-linux-gnu-gcc --target aarch64-unknown-linux-gnu "$src" -o "bin/arm64_${name}_O2" -C link-arg=-lc
done
sha256sum bin/* > SHA256SUMS
