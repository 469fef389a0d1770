//! `cargo xtask npm`: the npm package `woolly-llm`, as a folder and packed.

use crate::Outcome;
use crate::process::{apt_install, check, exists, output, program, root, target_folder};
use crate::wasm;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version of Node that builds and tests run with.
const OLDEST_NODE: u32 = 20;

/// Where a built package is.
pub struct Package {
    /// Its folder.
    pub folder: PathBuf,
    /// The same, packed.
    pub tarball: PathBuf,
}

/// Builds the package and says where it is. `--write-sizes` records how large it is.
pub fn run(arguments: &[String]) -> Outcome {
    let package = match arguments {
        [] => build(&[])?,
        [flag] if flag == "--write-sizes" => build(&["--write-sizes"])?,
        _ => return Err("usage: cargo xtask npm [--write-sizes]".into()),
    };
    println!("{}\n{}", package.folder.display(), package.tarball.display());
    Ok(())
}

/// Builds the package.
pub fn build(flags: &[&str]) -> Outcome<Package> {
    install(&root().join("wasm"))?;
    let builds = wasm::build()?;
    let parent = target_folder().join("npm");
    let folder = parent.join("woolly-llm");
    check(node()?.arg("wasm/build.mjs").arg(builds).arg(&folder).args(flags))?;
    let name = output(npm()?.args(["pack", "--silent", "--pack-destination"]).arg(&parent).current_dir(&folder))?;
    let name = name.lines().last().ok_or("npm pack did not say what it made")?;
    Ok(Package { tarball: parent.join(name), folder })
}

/// Runs the unit tests of the package's TypeScript.
pub fn test() -> Outcome {
    let wasm = root().join("wasm");
    install(&wasm)?;
    check(npm()?.arg("test").current_dir(wasm))
}

/// Installs what a folder's `package-lock.json` lists.
pub fn install(folder: &Path) -> Outcome {
    check(npm()?.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder))
}

/// Node, installed where that is possible.
pub fn node() -> Outcome<Command> {
    if !exists("node") && exists("apt-get") {
        // A failure here (not root, no network) is reported just below, with what to do about it.
        let _ = apt_install(&["nodejs", "npm"]);
    }
    let version = output(program("node").arg("--version")).map_err(|_| missing("nothing"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(OLDEST_NODE..) => Ok(program("node")),
        _ => Err(missing(version.trim()).into()),
    }
}

fn missing(found: &str) -> String {
    format!("Node.js {OLDEST_NODE} or later with npm is needed (https://nodejs.org), found {found}")
}

/// npm, which comes with Node.
pub fn npm() -> Outcome<Command> {
    node()?;
    Ok(program(if cfg!(windows) { "npm.cmd" } else { "npm" }))
}
