//! The first stage's steps, over traits, so that they are tested on a host. Nothing here allocates.

#![forbid(unsafe_code)]

pub mod load;
