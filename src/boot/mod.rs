//! Boot policy: find entries, run the menu, load, try the next one.
//!
//! Everything here goes through traits, so that whole boots run on the host too: devices are
//! [`BlockDevice`](crate::block::BlockDevice)s, the person at the line and the clock are a
//! [`Machine`]. Nothing here prints to hardware, jumps or resets; [`run`] says what is to be done.

#![forbid(unsafe_code)]

mod attempt;
mod catalogue;
mod decision;
mod found;
mod listing;
mod load;
mod order;
mod prompt;
mod record;
mod recovery;
mod session;
mod trial;

pub use catalogue::{Catalogue, Problem, Volume};
pub use decision::Ground;
pub use found::Found;
pub use listing::Listing;
pub use load::{Facts, HandOver, Job, LoadError, LoadMemory, Unavailable, load, plan};
pub use order::search_order;
pub use record::{Location, Store};
pub use recovery::Recovery;
pub use session::{Machine, Outcome, run};
