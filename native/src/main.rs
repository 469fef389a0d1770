mod error;
mod files;
mod store;

fn main() {}
