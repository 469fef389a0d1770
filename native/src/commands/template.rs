//! `woolly template`
