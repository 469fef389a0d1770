//! `cargo xtask browser`: the npm package in Chromium, Firefox and Node, in small projects that use it, and the demo page.
//!
//! The suite itself is `tests/browser`; here it gets what it needs: the package, the page, models with the logits to expect,
//! and browsers.

use crate::Outcome;
use crate::npm::{self, Package};
use crate::process::{beside_tests, check, installed, program, root, target_folder};
use crate::real_models::{self, REAL_MODELS};
use crate::web;
use std::path::PathBuf;
use std::process::Command;

/// A browser: the variable that names its program, the usual names, and Debian's package.
type Browser = (&'static str, &'static [&'static str], &'static str);

const CHROMIUM: Browser = ("WOOLLY_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"], "chromium");
const FIREFOX: Browser = ("WOOLLY_FIREFOX", &["firefox-esr", "firefox"], "firefox-esr");

/// Runs the suite; arguments are its own.
pub fn run(arguments: &[String]) -> Outcome {
    check(suite()?.args(arguments))
}

/// The command that runs the suite, with everything built and installed.
pub fn suite() -> Outcome<Command> {
    let Package { folder: package, tarball } = npm::build(&[])?;
    let page = web::build()?;
    let folder = root().join("tests/browser");
    npm::install(&folder)?;
    let models = real_models::fetch()?;
    let mut command = npm::node()?;
    command.arg(folder.join("run.mjs")).current_dir(&folder);
    command.env("WOOLLY_WEB", page).env("WOOLLY_TINY", answers(&models)?).env("WOOLLY_MODELS", models);
    command.env("WOOLLY_PACKAGE", package).env("WOOLLY_TARBALL", tarball);
    for (variable, names, package) in [CHROMIUM, FIREFOX] {
        command.env(variable, installed(variable, names, package)?);
    }
    Ok(command)
}

/// Chromium's program, installed where it is missing.
pub fn chromium() -> Outcome<PathBuf> {
    let (variable, names, package) = CHROMIUM;
    installed(variable, names, package)
}

/// Models and the logits to expect of them.
fn answers(models: &std::path::Path) -> Outcome<PathBuf> {
    let folder = target_folder().join("answers");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let real = REAL_MODELS.iter().map(|model| format!("{}={}", model.name, models.join(model.file).display()));
    check(program(beside_tests("bits", "write_answers")?).arg(&folder).args(real))?;
    Ok(folder)
}
