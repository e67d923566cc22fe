//! Rules that were broken.

use std::sync::{Arc, Mutex};

/// A list of broken rules that controller and card share.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<Mutex<Vec<String>>>);

impl Rules {
    /// Writes one down.
    pub fn broken(&self, what: impl Into<String>) {
        let mut list = self.0.lock().expect("no one panics with the list");
        let what = what.into();
        if !list.contains(&what) {
            list.push(what);
        }
    }

    /// Writes one down unless `kept`.
    pub fn require(&self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.broken(what());
        }
    }

    /// All that were broken so far, each once.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().expect("no one panics with the list").clone()
    }
}
