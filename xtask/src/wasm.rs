//! The engine as WebAssembly: four builds of it, and the JavaScript that wasm-bindgen writes for them.
//!
//! Builds with threads share their memory, and that takes a standard library of their own (`build-std`). The two builds that
//! differ in their instructions alone have the same JavaScript, which is checked, so the package ships each once.

use crate::Outcome;
use crate::cross::Cross;
use crate::process::{check_together, target_folder};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
/// As much memory as 32-bit addresses reach.
const MAX_MEMORY: u64 = 1 << 32;
/// What threads need to find their own variables.
const TLS_EXPORTS: [&str; 4] = ["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"];

/// A build.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The name of its `.wasm` file.
    pub name: &'static str,
    /// The name of its JavaScript.
    pub glue: &'static str,
    relaxed: bool,
    threads: bool,
}

/// All builds.
pub const VARIANTS: [Variant; 4] = [
    Variant { name: "simd128", glue: "single", relaxed: false, threads: false },
    Variant { name: "relaxed", glue: "single", relaxed: true, threads: false },
    Variant { name: "simd128-threads", glue: "threads", relaxed: false, threads: true },
    Variant { name: "relaxed-threads", glue: "threads", relaxed: true, threads: true },
];

/// Builds everything and says where it is.
pub fn run() -> Outcome {
    println!("{}", build()?.display());
    Ok(())
}

/// Builds all variants into a folder: `NAME.wasm` of each, `GLUE.js` and `GLUE.d.ts` of each kind.
pub fn build() -> Outcome<PathBuf> {
    let folder = target_folder().join("wasm");
    std::fs::create_dir_all(&folder)?;
    let libraries = "std,panic_abort";
    let (single, threads) = (Cross::new(TARGET, libraries)?, Cross::from_source(TARGET, libraries)?);
    // Two at a time: most of each is one long thread that optimizes.
    for pair in VARIANTS.chunks(2) {
        println!("building {}", pair.iter().map(|variant| variant.name).collect::<Vec<_>>().join(" and "));
        let cross = |variant: &Variant| if variant.threads { &threads } else { &single };
        let commands: Outcome<Vec<_>> = pair.iter().map(|variant| variant.compile(cross(variant))).collect();
        check_together(commands?)?;
    }
    for variant in VARIANTS {
        variant.bind(&folder)?;
    }
    Ok(folder)
}

impl Variant {
    /// The command that compiles the crate.
    fn compile(self, cross: &Cross) -> Outcome<Command> {
        let mut command = cross.cargo(&["build", "--release", "-p", "woolly-wasm", "--lib"])?;
        if self.threads {
            command.args(["--features", "threads"]);
        }
        command.env("CARGO_TARGET_DIR", self.folder()).env("RUSTFLAGS", self.flags());
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        Ok(command)
    }

    /// Where it is compiled: each variant in a folder of its own, since flags differ.
    fn folder(self) -> PathBuf {
        target_folder().join("wasm-build").join(self.name)
    }

    fn flags(self) -> String {
        let mut features = vec!["+simd128"];
        if self.relaxed {
            features.push("+relaxed-simd");
        }
        if self.threads {
            features.extend(["+atomics", "+bulk-memory", "+mutable-globals"]);
        }
        let mut flags = format!("-C target-feature={}", features.join(","));
        if self.threads {
            flags += &format!(
                " -C link-arg=--shared-memory -C link-arg=--import-memory -C link-arg=--max-memory={MAX_MEMORY}"
            );
            flags.extend(TLS_EXPORTS.map(|name| format!(" -C link-arg=--export={name}")));
        }
        flags
    }

    /// Writes the module as JavaScript can use it, and that JavaScript.
    fn bind(self, folder: &Path) -> Outcome {
        let mut bindgen = Bindgen::new();
        let module = self.folder().join(TARGET).join("release/woolly_wasm.wasm");
        bindgen.input_path(module).out_name(self.glue).remove_name_section(true).remove_producers_section(true);
        bindgen.web(true)?.omit_default_module_path(true).typescript(true);
        let mut output = bindgen.generate_output()?;
        std::fs::write(folder.join(format!("{}.wasm", self.name)), output.wasm_mut().emit_wasm())?;
        let glue = with_own_threads(output.js())?;
        let path = folder.join(format!("{}.js", self.glue));
        if self.relaxed && std::fs::read_to_string(&path)? != glue {
            return Err(
                format!("the JavaScript of {} differs from that of the build without relaxed SIMD", self.name).into()
            );
        }
        std::fs::write(path, glue)?;
        std::fs::write(folder.join(format!("{}.d.ts", self.glue)), output.ts().ok_or("no types were made")?)?;
        Ok(())
    }
}

/// The JavaScript, with the package's own way to start threads in place of what wasm-bindgen-rayon brings: that one loads
/// itself from wherever it lies, which neither a strict content policy nor bundlers like.
fn with_own_threads(glue: &str) -> Outcome<String> {
    let lines: Vec<&str> = glue.lines().collect();
    let is_snippet = |line: &str| line.starts_with("import ") && line.contains("./snippets/");
    let replaced = lines.iter().map(|line| match line.split_once(" from ") {
        Some((names, _)) if is_snippet(line) => format!("{names} from '../threads.js';\n"),
        _ => format!("{line}\n"),
    });
    let glue: String = replaced.collect();
    if glue.contains("snippets/") {
        return Err("wasm-bindgen imports a snippet in a form that is not known here".into());
    }
    Ok(glue)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_import_of_threads_is_replaced() {
        let glue = "import { startWorkers } from './snippets/wasm-bindgen-rayon-1/src/workerHelpers.js';\nlet wasm;\n";
        assert_eq!(with_own_threads(glue).unwrap(), "import { startWorkers } from '../threads.js';\nlet wasm;\n");
        assert_eq!(with_own_threads("let wasm;\n").unwrap(), "let wasm;\n");
        assert!(with_own_threads("export * from './snippets/a.js';\n").is_err());
    }
}
