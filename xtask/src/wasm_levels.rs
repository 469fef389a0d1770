//! `cargo xtask wasm_levels`: the instruction sets of WebAssembly, tested in Node.
//!
//! The engine's tests of [operations, quantization, products and attention](UNIT) run twice: compiled for SIMD, and for
//! relaxed SIMD, where all of these levels are compared with plain code.
//!
//! It takes the target `wasm32-wasip1` with its libraries, which bring a C library along (where they cannot be had, the
//! answers in browsers have to do), and Node. Versions before
//! [`NODE`] multiply relaxed vectors wrongly: npm lends a newer one.

use crate::Outcome;
use crate::cross::Cross;
use crate::process::{check, exists, output, program, root};
use std::process::Command;

const TARGET: &str = "wasm32-wasip1";
/// Parts of the names of the engine's tests that run.
const UNIT: [&str; 4] = ["simd::", "quant::tests::", "kernels::matmul::", "kernels::attention::"];
/// The first version of Node that computes relaxed dot products as specified.
const NODE: u32 = 24;
/// What the program is compiled for.
const FEATURES: [&str; 2] = ["+simd128", "+simd128,+relaxed-simd"];

/// Runs the tests.
pub fn run() -> Outcome {
    for mut command in tests()? {
        check(&mut command)?;
    }
    Ok(())
}

/// The commands that run the tests.
pub fn tests() -> Outcome<Vec<Command>> {
    let Ok(target) = Cross::prebuilt(TARGET) else {
        println!("not run: it takes `rustup target add {TARGET}`, which did not work here");
        return Ok(Vec::new());
    };
    let runner = format!("{} --no-warnings {}", node()?, root().join("xtask/src/wasm_levels.mjs").display());
    let mut commands = Vec::new();
    for features in FEATURES {
        let mut command = target.cargo(&["test", "-p", "woolly-engine", "--lib", "--no-default-features"])?;
        command.args(["--features", "std", "--"]).args(UNIT);
        // Optimizing these kernels takes a compiler longer than running what it makes in a hurry.
        command.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1").env("CARGO_PROFILE_TEST_DEBUG", "0");
        command.env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", format!("-C target-feature={features}"));
        command.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", &runner);
        commands.push(command);
    }
    Ok(commands)
}

/// The command that starts a Node that is new enough.
fn node() -> Outcome<String> {
    if exists("node") && version(&output(program("node").arg("--version"))?).is_some_and(|major| major >= NODE) {
        return Ok("node".into());
    }
    let lent = format!("npx --yes node@{NODE}");
    if exists("npx") && program("npx").args(["--yes", &format!("node@{NODE}"), "--version"]).status()?.success() {
        return Ok(lent);
    }
    Err(format!("it takes Node {NODE} or newer; install it, or npm, which can fetch it with `{lent}`").into())
}

/// The major version in "v24.1.0".
fn version(text: &str) -> Option<u32> {
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("v24.21.0\n"), Some(24));
        assert_eq!(version("unknown"), None);
    }
}
