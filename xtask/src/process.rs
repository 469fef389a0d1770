//! Starting other programs: their failure becomes an error that shows the command line.

use crate::Outcome;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The folder of the workspace, wherever the command was started.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// A program to be started in the workspace's folder.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// The cargo that runs this very program.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this program about its own package would make build scripts that look for it run again.
    let told = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    std::env::vars_os().map(|(name, _)| name).filter(|name| told(name)).for_each(|name| _ = command.env_remove(name));
    command.args(arguments);
    command
}

/// Builds the command line for release, and returns where it is.
pub fn woolly() -> Outcome<PathBuf> {
    check(&mut cargo(&["build", "--release", "-p", "woolly"]))?;
    Ok(target_folder().join("release").join(format!("woolly{}", std::env::consts::EXE_SUFFIX)))
}

/// The `cargo test` command of one file of tests.
///
/// It names no package: for one alone, with the features that this one asks for, cargo would compile the engine anew.
pub fn cargo_test(file: &str) -> Command {
    cargo(&["test", "--workspace", "--test", file])
}

/// Builds the programs of the package that has this file of tests, as its tests use them, and returns where one of them is.
pub fn beside_tests(file: &str, name: &str) -> Outcome<PathBuf> {
    check(cargo_test(file).arg("--no-run"))?;
    Ok(target_folder().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Where cargo builds.
pub fn target_folder() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Runs to the end with the terminal's own output.
pub fn check(command: &mut Command) -> Outcome {
    let end = command.status();
    succeeded(command, end)
}

/// Runs some commands at the same time, each to its end; the first that failed is the error.
pub fn check_together(mut commands: Vec<Command>) -> Outcome {
    let children: Vec<_> = commands.iter_mut().map(Command::spawn).collect();
    let ends: Vec<_> = children.into_iter().map(|child| child.and_then(|mut child| child.wait())).collect();
    for (command, end) in commands.iter().zip(ends) {
        succeeded(command, end)?;
    }
    Ok(())
}

/// Runs to the end and returns what it printed on standard output.
pub fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        return Err(format!("{}: {command:?}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, showing standard output line by line; returns whether it succeeded and those lines.
pub fn tee(command: &mut Command) -> Outcome<(bool, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| not_started(command, &error))?;
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("piped above")).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(std::io::stdout(), "{line}")?;
        lines.push(line);
    }
    Ok((child.wait()?.success(), lines))
}

/// Whether the program can be started at all.
pub fn exists(name: &str) -> bool {
    Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Installs Debian packages without questions, and without starting the services in them; needs to be root.
pub fn apt_install(packages: &[&str]) -> Outcome {
    check(program("apt-get").arg("update").env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut install = program("apt-get");
    install.args(["install", "-y", "--no-install-recommends"]).args(packages);
    // At this run level no service is to run, so none is started.
    check(install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}

/// The program that the variable names, else one that is installed, else one that is now, from a Debian package.
pub fn installed(variable: &str, names: &[&str], package: &str) -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let found = || names.iter().find_map(|name| on_path(name));
    if found().is_none() && exists("apt-get") {
        // A failure here (not root, no network) is reported just below, with what to do about it.
        let _ = apt_install(&[package]);
    }
    let error = || format!("{} is needed (on Debian: apt-get install {package}); {variable} may name it", names[0]);
    Ok(found().ok_or_else(error)?)
}

/// A program in one of the folders of `PATH`, or where Debian has those of the system.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn succeeded(command: &Command, end: std::io::Result<ExitStatus>) -> Outcome {
    let status = end.map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{status}: {command:?}").into()) }
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start {:?}: {error}", command.get_program())
}
