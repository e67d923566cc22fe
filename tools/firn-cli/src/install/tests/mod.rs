//! Installations on a disk that loses what was not synced, that is full, or that fails.

mod card;
mod dice;
mod disk;
mod faults;
mod layout;
mod real;
mod room;
mod sequences;
mod world;
