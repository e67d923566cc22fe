//! `board`: what this board is, and how the loader was started.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{boot::Facts, release};

/// The answer.
pub(super) fn lines(facts: &Facts<'_>) -> Vec<String> {
    let mut lines = vec![
        format!("Firn {} on {}\n", release::version(), facts.board.name),
        format!("  entered at {}\n", facts.entry),
        format!("  part: {}\n", facts.part),
    ];
    lines.extend(facts.reset.map(|cause| format!("  reset: {cause}\n")));
    lines
}
