//! Prints the names of the instruction sets of this machine, slowest first: for `cargo xtask isa`.

use woolly_engine::simd::Level;

fn main() {
    Level::available().iter().for_each(|level| println!("{level}"));
}
