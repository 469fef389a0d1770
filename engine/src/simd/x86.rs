//! What an x86-64 CPU and its system support.

use super::Level;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU8, Ordering};

/// Bits of registers of CPUID and of XCR0.
const FMA_XSAVE_AVX_F16C: u32 = 1 << 12 | 1 << 27 | 1 << 28 | 1 << 29;
const AVX2: u32 = 1 << 5;
const AVX_VNNI: u32 = 1 << 4;
/// F, DQ, BW and VL.
const AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
const AVX512_VNNI: u32 = 1 << 11;
/// AMX-TILE and AMX-INT8.
const AMX_INT8: u32 = 1 << 24 | 1 << 25;
const XMM_YMM: u64 = 0b110;
const XMM_YMM_ZMM: u64 = 0b1110_0110;
const TILES: u64 = 0b11 << 17;

/// Whether kernels of `level` may run here.
#[inline]
pub(super) fn has(level: Level) -> bool {
    // Asking the CPU takes microseconds in a virtual machine, and this is asked for each kernel.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == 0 {
        known = detect();
        KNOWN.store(known, Ordering::Relaxed);
    }
    known & bit(level) != 0
}

/// Asks for the cache lines of `to`, to be written.
#[inline(always)]
pub(super) fn prefetch_to_write<T>(to: &mut [T]) {
    for line in (0..size_of_val(to)).step_by(64) {
        let line = to.as_mut_ptr().wrapping_byte_add(line);
        // SAFETY: the instruction changes no memory and no register, and 64-bit CPUs without it take it as nothing.
        unsafe { asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags)) };
    }
}

/// A bit for each level; the lowest says that they are known.
fn bit(level: Level) -> u8 {
    match level {
        Level::Scalar => 1,
        Level::Avx2 => 2,
        Level::AvxVnni => 4,
        Level::Avx512Vnni => 8,
        Level::AmxInt8 => 16,
        _ => 0,
    }
}

#[cold]
fn detect() -> u8 {
    let mut known = bit(Level::Scalar);
    #[allow(unused_unsafe)] // Intrinsics without pointers became safe to call in newer compilers.
    // SAFETY: every x86-64 CPU has CPUID.
    let (top, first) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
    if top < 7 || first & FMA_XSAVE_AVX_F16C != FMA_XSAVE_AVX_F16C {
        return known;
    }
    #[allow(unused_unsafe)]
    // SAFETY: leaf 7 exists, and the OSXSAVE bit above says that XGETBV does.
    let (leaf, more, saved) = unsafe { (__cpuid_count(7, 0), __cpuid_count(7, 1), saved_registers()) };
    if leaf.ebx & AVX2 == 0 || saved & XMM_YMM != XMM_YMM {
        return known;
    }
    known |= bit(Level::Avx2);
    if leaf.eax >= 1 && more.eax & AVX_VNNI != 0 {
        known |= bit(Level::AvxVnni);
    }
    let wide = leaf.ebx & AVX512 == AVX512 && saved & XMM_YMM_ZMM == XMM_YMM_ZMM;
    if wide && leaf.ecx & AVX512_VNNI != 0 {
        known |= bit(Level::Avx512Vnni);
        if leaf.edx & AMX_INT8 == AMX_INT8 && saved & TILES == TILES && may_use_tiles() {
            known |= bit(Level::AmxInt8);
        }
    }
    known
}

/// Asks the system to let this process use tiles, as Linux wants it: a thread then takes 8 kB more to save.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let failed: usize;
    // SAFETY: the call has these arguments, touches no memory of this process, and changes the registers that are named.
    unsafe {
        asm!(
            "syscall", inlateout("rax") ARCH_PRCTL => failed, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _, lateout("r11") _, options(nostack)
        );
    }
    failed == 0
}

/// How other systems want to be asked is not known here.
#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

#[target_feature(enable = "xsave")]
#[allow(unused_unsafe)]
fn saved_registers() -> u64 {
    // SAFETY: the feature is enabled here, and register 0 exists wherever it is.
    unsafe { _xgetbv(0) }
}
