//! `cargo xtask arm`: the NEON levels, tested on an emulated 64-bit Arm, and the Mac build type-checked.
//!
//! On such a machine itself, the other tests do all of this. Elsewhere it takes Linux on x86-64, `qemu-aarch64`, a C
//! compiler that links for it, and its libraries.
//!
//! Emulation is slow, so not all tests run. These are chosen:
//!
//! - the engine's tests of [operations, quantization, products and attention](UNIT), which compare every operation and every tensor
//!   type at every level with plain code, element by element;
//! - [recorded answers](RECORDED), at each level by its name: those of the reference for every architecture, and the exact
//!   bits of every tensor type and architecture, recorded on another kind of machine.
//!
//! What they leave out (threads, cuts of the prompt) does not depend on the instruction set.

use crate::Outcome;
use crate::cross::Cross;
use crate::isa::levels;
use crate::process::{apt_install, check, exists};
use std::env::consts::{ARCH, OS};
use std::path::Path;
use std::process::Command;

const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
const DEBIAN_PACKAGES: [&str; 3] = ["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
/// Parts of the names of the engine's tests that run.
const UNIT: [&str; 4] = ["simd::", "quant::tests::", "kernels::matmul::", "kernels::attention::"];
/// The tests of recorded answers.
const RECORDED: [&str; 7] = ["test", "-p", "woolly-tests", "--test", "golden", "--test", "bits"];
/// What to give cargo to have it print the levels of the machine that it runs programs on. With the tests' profile,
/// nothing is built that they do not need as well.
const LEVELS: [&str; 7] = ["run", "--quiet", "--profile=test", "-p", "woolly-tests", "--bin", "levels"];
/// What the emulator must have.
const EXPECTED: [&str; 3] = ["neon", "neon-dotprod", "neon-i8mm"];

/// Runs the tests.
pub fn run() -> Outcome {
    for mut command in tests()? {
        check(&mut command)?;
    }
    Ok(())
}

/// The commands that run the tests; none where there is nothing to do, which is said.
pub fn tests() -> Outcome<Vec<Command>> {
    match (ARCH, OS) {
        ("aarch64", _) => println!("this is such a machine: `cargo test` and `cargo xtask isa` test its levels"),
        ("x86_64", "linux") => return emulated(),
        _ => println!("not run: it takes Linux on x86-64, or a 64-bit Arm"),
    }
    Ok(Vec::new())
}

fn emulated() -> Outcome<Vec<Command>> {
    install()?;
    let linux = Cross::new("aarch64-unknown-linux-gnu", "std,panic_unwind,test")?;
    let cargo = |arguments: &[&str]| -> Outcome<Command> {
        let mut command = linux.cargo(arguments)?;
        // Optimizing these kernels takes a compiler longer than emulating what it makes in a hurry.
        command.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1").env("CARGO_PROFILE_TEST_DEBUG", "0");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", format!("{EMULATOR} -L {LIBRARIES} -cpu max"));
        Ok(command)
    };
    let levels = levels(cargo(&LEVELS)?)?;
    if !EXPECTED.iter().all(|expected| levels.iter().any(|level| level == expected)) {
        return Err(format!("{EMULATOR} has {}, not all of {}", levels.join(", "), EXPECTED.join(", ")).into());
    }
    let mut commands = Vec::new();
    for level in EXPECTED {
        let mut recorded = cargo(&RECORDED)?;
        recorded.env("WOOLLY_ISA", level);
        commands.push(recorded);
    }
    let mut unit = cargo(&["test", "-p", "woolly-engine", "--lib"])?;
    unit.arg("--").args(UNIT);
    commands.push(unit);
    commands.push(mac()?);
    Ok(commands)
}

/// Type-checks the command line for Macs. The libraries in C that it uses cannot be compiled without Apple's: a compiler
/// that does nothing stands in for them.
fn mac() -> Outcome<Command> {
    let mut command = Cross::new("aarch64-apple-darwin", "std")?.cargo(&["check", "-p", "woolly"])?;
    command.env("CC_aarch64_apple_darwin", "true").env("AR_aarch64_apple_darwin", "true").env("SDKROOT", "/");
    Ok(command)
}

fn install() -> Outcome {
    let complete = || exists(EMULATOR) && exists(LINKER) && Path::new(LIBRARIES).join("lib").is_dir();
    if !complete() && exists("apt-get") {
        // A failure here (not root, no network) shows below.
        let _ = apt_install(&DEBIAN_PACKAGES);
    }
    if complete() {
        return Ok(());
    }
    Err(format!(
        "it takes {EMULATOR}, {LINKER} and {LIBRARIES}/lib; on Debian: apt-get install {}",
        DEBIAN_PACKAGES.join(" ")
    )
    .into())
}
