//! Ole's interface: the desktop client's view of models and answers.

pub mod health;
pub mod inference;
pub mod models;
pub mod socket;
