//! Building for other targets than this machine's.
//!
//! Three ways, the first that works: the target's own libraries from rustup; rustup's `rust-src`; Debian's `rustc-web`
//! with `rust-web-src`, driven by rustup's cargo and linker.

use crate::Outcome;
use crate::process::{apt_install, cargo, exists, output, program};
use std::path::{Path, PathBuf};
use std::process::Command;

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// A target, and how to build for it.
pub struct Cross {
    target: &'static str,
    /// The libraries that have to be built where the target's own are not there, as cargo's `build-std` names them.
    libraries: &'static str,
    toolchain: Toolchain,
}

#[derive(Clone, Copy)]
enum Toolchain {
    /// The target is installed: nothing special is needed.
    Target,
    /// The compiler's own library sources are installed: build them too.
    Source,
    /// Debian's compiler, which has sources as a package.
    Debian,
}

impl Cross {
    /// Finds a way to build for `target`, installing what that takes: the target itself if possible, since building a
    /// standard library takes minutes.
    pub fn new(target: &'static str, libraries: &'static str) -> Outcome<Self> {
        if !prebuilt(target)? && !rustup(&["target", "add", target]) && source()?.is_none() {
            debian();
        }
        let toolchain = find(target)?.ok_or_else(|| {
            format!(
                "no library for {target}; install one with `rustup target add {target}`, with `rustup component add \
                 rust-src`, or on Debian with `apt-get install {}`",
                DEBIAN_PACKAGES.join(" ")
            )
        })?;
        Ok(Self { target, libraries, toolchain })
    }

    /// The same, but with libraries that are built for the flags of the program: where a target's own do not fit them.
    pub fn from_source(target: &'static str, libraries: &'static str) -> Outcome<Self> {
        if !rust_src()? && !rustup(&["component", "add", "rust-src"]) && source()?.is_none() {
            debian();
        }
        let toolchain = source()?.ok_or_else(|| {
            let packages = DEBIAN_PACKAGES.join(" ");
            format!("no library sources; install them with `rustup component add rust-src`, or on Debian with `apt-get install {packages}`")
        })?;
        Ok(Self { target, libraries, toolchain })
    }

    /// The same with the target's own libraries from rustup only, where these bring along what else it takes to link.
    pub fn prebuilt(target: &'static str) -> Outcome<Self> {
        if !prebuilt(target)? && !rustup(&["target", "add", target]) {
            return Err(format!("no library for {target}; install it with `rustup target add {target}`").into());
        }
        Ok(Self { target, libraries: "", toolchain: Toolchain::Target })
    }

    /// Cargo for the target.
    pub fn cargo(&self, arguments: &[&str]) -> Outcome<Command> {
        let mut command = cargo(arguments);
        command.args(["--target", self.target]);
        if !matches!(self.toolchain, Toolchain::Target) {
            command.args(["-Z", &format!("build-std={}", self.libraries)]).env("RUSTC_BOOTSTRAP", "1");
        }
        if let Toolchain::Debian = self.toolchain {
            command.env("RUSTC", DEBIAN_RUSTC).env("PATH", path_with_linker()?);
        }
        Ok(command)
    }
}

fn find(target: &str) -> Outcome<Option<Toolchain>> {
    match prebuilt(target)? {
        true => Ok(Some(Toolchain::Target)),
        false => source(),
    }
}

/// Whether rustup has the target's libraries here.
fn prebuilt(target: &str) -> Outcome<bool> {
    Ok(rustlib()?.join(target).join("lib").is_dir())
}

/// Whether rustup has its sources here.
fn rust_src() -> Outcome<bool> {
    Ok(rustlib()?.join("src/rust/library").is_dir())
}

fn source() -> Outcome<Option<Toolchain>> {
    let debian = || Path::new(DEBIAN_SOURCE).is_dir() && Path::new(DEBIAN_RUSTC).exists();
    Ok(match rust_src()? {
        true => Some(Toolchain::Source),
        false => debian().then_some(Toolchain::Debian),
    })
}

/// Has rustup fetch something; returns whether it did.
fn rustup(arguments: &[&str]) -> bool {
    program("rustup").args(arguments).status().is_ok_and(|status| status.success())
}

/// Installs Debian's compiler and sources where that is possible.
fn debian() {
    if exists("apt-get") {
        // A failure here (not root, no network) is reported by the caller, with what to do about it.
        let _ = apt_install(&DEBIAN_PACKAGES);
    }
}

/// The folder of rustup's libraries, one subfolder per target.
fn rustlib() -> Outcome<PathBuf> {
    let sysroot = output(program("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib"))
}

/// `PATH` with rustup's `rust-lld` in front: Debian's compiler comes without a linker for some targets.
fn path_with_linker() -> Outcome<std::ffi::OsString> {
    let host = output(program("rustc").args(["--print", "host-tuple"]))?;
    let linker = rustlib()?.join(host.trim()).join("bin");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(linker).chain(std::env::split_paths(&rest)))?)
}
