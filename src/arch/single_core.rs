//! Statics without locks.
//!
//! A lock needs exclusive accesses, which may never succeed while the MMU is off; and there is
//! nobody to lock out.

use core::cell::{Cell, UnsafeCell};
use core::ops::Deref;

/// A static that only the boot core touches.
pub struct SingleCore<T>(T);

// SAFETY: only the boot core runs Rust code (entry.rs parks the others before its first store), and
// no interrupt or exception handler touches a `SingleCore` that the interrupted code may be using:
// interrupts stay masked, and the exception report never returns to what it interrupted.
unsafe impl<T> Sync for SingleCore<T> {}

impl<T> SingleCore<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for SingleCore<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A static that is given away once.
pub struct TakeOnce<T> {
    taken: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: as for `SingleCore`.
unsafe impl<T> Sync for TakeOnce<T> {}

impl<T> TakeOnce<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self { taken: Cell::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, the first time.
    #[expect(clippy::mut_from_ref, reason = "given away once")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.replace(true) {
            return None;
        }
        // SAFETY: `taken` was false, so this is the first and only reference ever made.
        Some(unsafe { &mut *self.value.get() })
    }
}

/// A value that is only there once the stage runs. Until then it is all zeros, which takes no room in
/// the stage's file; an `Option` may mark what is absent by another pattern.
#[derive(Clone, Copy, Debug, Default)]
#[repr(u8)]
pub enum Late<T> {
    /// Not there yet.
    #[default]
    Absent,
    /// There.
    Present(T),
}

impl<T> Late<T> {
    /// The value, if it is there.
    pub fn get(self) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Present(value) => Some(value),
        }
    }

    /// The value in its place, if it is there.
    pub fn as_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Absent => None,
            Self::Present(value) => Some(value),
        }
    }
}
