//! The page that shows the results: what stands between two marks in it is written anew.

use super::machine::Machine;
use super::runs::{Measured, Programs, Settings};
use super::{plot, report};
use crate::Outcome;
use crate::process::{output, program, root};
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- cargo xtask bench writes from here -->";
const END: &str = "<!-- to here -->";

/// A page with both marks.
pub struct Page {
    path: PathBuf,
    text: String,
}

/// Opens a page, so that one without marks is an error before hours are spent.
pub fn open(path: &Path) -> Outcome<Page> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    replace(&text, "").map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Page { path: path.to_path_buf(), text })
}

impl Page {
    /// Writes the page and the plot beside it.
    pub fn write(&self, results: &[Measured], machine: &Machine, settings: &Settings, programs: &Programs) -> Outcome {
        let plot = self.path.with_extension("svg");
        std::fs::write(&plot, plot::svg(results))?;
        let name = plot.file_name().unwrap_or_default().to_string_lossy();
        let (table, peaks) = (report::table(results), peaks(programs)?);
        let (commit, rounds, kv) = (commit()?, settings.rounds, &settings.kv);
        let section = format!(
            "{}\nWoolly at commit {commit}; {rounds} rounds; keys and values in {kv}.\n\n\
             ![Speed of Woolly, divided by that of llama.cpp]({name})\n\n{table}\n\
             The machine's peaks, from `woolly bench --peaks`:\n\n{peaks}",
            machine.describe()
        );
        Ok(std::fs::write(&self.path, replace(&self.text, &section)?)?)
    }
}

/// `text` with `section` between the marks.
fn replace(text: &str, section: &str) -> Result<String, String> {
    let missing = |mark: &str| format!("expected a line {mark}");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{BEGIN}\n{section}\n{END}{after}"))
}

/// The table that Woolly prints of the machine's peaks, with one thread and with all.
fn peaks(programs: &Programs) -> Outcome<String> {
    let cores = num_cpus::get_physical();
    let threads = if cores > 1 { format!("1,{cores}") } else { "1".to_string() };
    output(program(&programs.woolly).args(["bench", "--peaks", "-t", &threads]))
}

fn commit() -> Outcome<String> {
    let git = |arguments: &[&str]| output(program("git").arg("-C").arg(root()).args(arguments));
    let changed = !git(&["status", "--porcelain", "--untracked-files=no", "--", "engine", "native"])?.is_empty();
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    Ok(format!("{}{}", commit.trim(), if changed { " with changes" } else { "" }))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("# Speed\n\n{BEGIN}\nold\n{END}\n\nThe end\n");
        let once = replace(&page, "new").unwrap();
        assert_eq!(once, format!("# Speed\n\n{BEGIN}\nnew\n{END}\n\nThe end\n"));
        assert_eq!(replace(&once, "new").unwrap(), once);
    }

    #[test]
    fn a_page_without_marks_is_refused() {
        assert!(replace("# Speed", "new").unwrap_err().contains(BEGIN));
        assert!(replace(&format!("{END}\n{BEGIN}"), "new").unwrap_err().contains(END));
    }

    #[test]
    fn the_page_of_this_project_has_its_marks() {
        assert!(open(&root().join("docs/speed.md")).is_ok());
    }
}
