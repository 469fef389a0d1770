//! Writes the tiny models into the folder named by the argument, and prints the tokens to feed each: for
//! `cargo xtask golden`, which has the reference answer them.

use std::path::PathBuf;
use woolly_tests::recipes;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: write_tiny_models FOLDER"));
    for recipe in recipes::all() {
        std::fs::write(folder.join(format!("{}.gguf", recipe.name)), recipe.build())?;
        let tokens: Vec<String> = recipe.tokens(recipes::PROMPT).iter().map(u32::to_string).collect();
        println!("{}: {}", recipe.name, tokens.join(" "));
    }
    Ok(())
}
