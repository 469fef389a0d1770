//! What tests that cross crates share.
#![deny(missing_docs)]

pub mod counting_allocator;
pub mod random;
pub mod random_model;
pub mod recipes;
pub mod run;
pub mod threads;
pub mod vocabulary;

/// The README's examples are tests too.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
struct Readme;
