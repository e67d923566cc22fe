//! Linux: what a kernel is, where it goes, what it is told.
//!
//! A boot reads [`KernelImage::inspect`] → [`Plan::new`] → load to the planned ranges →
//! [`KernelImage::verify`] → patch the device tree → jump (`arch`). All of it here is pure: the
//! caller reads the files and owns the memory.

#![forbid(unsafe_code)]

pub mod image;
pub mod placement;

pub use image::KernelImage;
pub use placement::{InitrdLayout, Mapping, MemoryMap, Plan, Request};
