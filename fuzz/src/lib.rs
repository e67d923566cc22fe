//! What the fuzz targets share: inputs that are made of parts, a file system in memory, and what must
//! hold of everything that a parser gives.
//!
//! A target asserts what its parser promises, not only that it does not panic. Findings become
//! tests of the parser's own module; seeds are kept.

#![forbid(unsafe_code)]

pub mod check;
pub mod disk;
pub mod flash;
pub mod input;
pub mod state;
pub mod terminal;
pub mod tree;
