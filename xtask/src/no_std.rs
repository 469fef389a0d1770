//! `cargo xtask no_std`: the engine needs no operating system, shown by building it for a target that has none.

use crate::Outcome;
use crate::cross::Cross;
use crate::process::check;

/// Builds the engine for such a target, installing what that takes.
pub fn run() -> Outcome {
    let target = Cross::new("x86_64-unknown-none", "core,alloc")?;
    let mut command = target.cargo(&["build", "-p", "woolly-engine", "--no-default-features"])?;
    // Nobody runs it, so nothing is optimized.
    check(command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0"))
}
