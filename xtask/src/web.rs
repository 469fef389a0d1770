//! `cargo xtask web [MODEL.gguf]…`: the demo page, built and served on this machine, with the models that are given, or else
//! the small ones that the tests use. With those there already it takes no network.

use crate::Outcome;
use crate::npm::{self, npm};
use crate::process::{check, root};
use crate::real_models::{self, REAL_MODELS};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Builds the page and serves it until it is interrupted.
pub fn run(arguments: &[String]) -> Outcome {
    let models = match arguments {
        [] => small_models()?,
        given => given
            .iter()
            .map(|path| Ok(Path::new(path).canonicalize().map_err(|error| format!("{path}: {error}"))?))
            .collect::<Outcome<_>>()?,
    };
    npm::build(&[])?;
    let page = build()?;
    let listed = models.iter().map(|model| offer(model, &page)).collect::<Outcome<Vec<Value>>>()?;
    std::fs::write(page.join("models.json"), serde_json::to_string_pretty(&listed)?)?;
    check(npm()?.args(["run", "--silent", "preview"]).current_dir(root().join("web")))
}

/// Builds the page for the package that was built before, and returns its folder.
pub fn build() -> Outcome<PathBuf> {
    let web = root().join("web");
    npm::install(&web)?;
    check(npm()?.args(["run", "--silent", "build"]).current_dir(&web))?;
    Ok(web.join("dist"))
}

fn small_models() -> Outcome<Vec<PathBuf>> {
    let folder = real_models::fetch()?;
    Ok(REAL_MODELS.iter().map(|model| folder.join(model.file)).collect())
}

/// Puts a model beside the page, and returns its entry for the page's list.
fn offer(model: &Path, page: &Path) -> Outcome<Value> {
    let name = model.file_name().ok_or("a model is a file")?.to_string_lossy().into_owned();
    let folder = page.join("models");
    std::fs::create_dir_all(&folder)?;
    let place = folder.join(&name);
    // A second name costs no space, but other file systems take a copy.
    std::fs::hard_link(model, &place).or_else(|_| std::fs::copy(model, &place).map(drop))?;
    Ok(
        json!({ "name": name.trim_end_matches(".gguf"), "model": format!("models/{name}"), "size": model.metadata()?.len() }),
    )
}
