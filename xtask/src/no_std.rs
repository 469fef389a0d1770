//! `cargo xtask no_std`: the engine needs no operating system, shown by building it for a target that has none.
//!
//! Three ways, the first that works: the target's own `core` and `alloc` from rustup; rustup's `rust-src`; Debian's
//! `rustc-web` with `rust-web-src`, driven by rustup's cargo and linker.

use crate::Outcome;
use crate::process::{apt_install, cargo, check, exists, output, program};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-none";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Builds the engine for [`TARGET`], installing what that takes.
pub fn run() -> Outcome {
    check(&mut toolchain()?.build()?)
}

enum Toolchain {
    /// The target is installed: nothing special is needed.
    Target,
    /// The compiler's own library sources are installed: build them too.
    Source,
    /// Debian's compiler, which has sources as a package.
    Debian,
}

impl Toolchain {
    fn build(&self) -> Outcome<Command> {
        let mut command = cargo(&["build", "-p", "woolly-engine", "--no-default-features", "--target", TARGET]);
        if !matches!(self, Self::Target) {
            command.args(["-Z", "build-std=core,alloc"]).env("RUSTC_BOOTSTRAP", "1");
        }
        if let Self::Debian = self {
            command.env("RUSTC", DEBIAN_RUSTC).env("PATH", path_with_linker()?);
        }
        Ok(command)
    }
}

fn toolchain() -> Outcome<Toolchain> {
    let installed = || -> Outcome<Option<Toolchain>> {
        let library = rustlib()?;
        Ok(match () {
            () if library.join(TARGET).join("lib").is_dir() => Some(Toolchain::Target),
            () if library.join("src/rust/library").is_dir() => Some(Toolchain::Source),
            () if Path::new(DEBIAN_SOURCE).is_dir() && Path::new(DEBIAN_RUSTC).exists() => Some(Toolchain::Debian),
            () => None,
        })
    };
    if let Some(found) = installed()? {
        return Ok(found);
    }
    install();
    installed()?.ok_or_else(|| {
        format!(
            "no library for {TARGET}; install one with `rustup target add {TARGET}`, with `rustup component add rust-src`, \
             or on Debian with `apt-get install {}`",
            DEBIAN_PACKAGES.join(" ")
        )
        .into()
    })
}

/// Tries each way to get a library; which one worked is seen by looking again.
fn install() {
    let rustup = program("rustup").args(["target", "add", TARGET]).status();
    if !rustup.is_ok_and(|status| status.success()) && exists("apt-get") {
        // A failure here (not root, no network) is reported by the caller, with what to do about it.
        let _ = apt_install(&DEBIAN_PACKAGES);
    }
}

/// The folder of rustup's libraries, one subfolder per target.
fn rustlib() -> Outcome<PathBuf> {
    let sysroot = output(program("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib"))
}

/// `PATH` with rustup's `rust-lld` in front: Debian's compiler comes without a linker for this target.
fn path_with_linker() -> Outcome<std::ffi::OsString> {
    let host = output(program("rustc").args(["--print", "host-tuple"]))?;
    let linker = rustlib()?.join(host.trim()).join("bin");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(linker).chain(std::env::split_paths(&rest)))?)
}
