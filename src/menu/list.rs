//! The list: its rows, what of them is to be seen, and what is selected.
//!
//! Rows are known by their index in the list as the caller gave it, whatever is folded or filtered
//! out. Specialisations fold under their generation; the default and what is selected are seen all
//! the same. A filter shows what it matches, folded or not.

#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::iter;

use super::Row;
use crate::nixos::Generation;

/// Rows that PageUp and PageDown jump over where no screen says how many there are.
const PAGE: usize = 10;

/// The list.
pub(super) struct List {
    rows: Vec<Row>,
    /// For each row the one under which it folds; itself, if it does not.
    heads: Vec<usize>,
    open: Vec<Fold>,
    /// In lower case; shows everything if it is empty.
    filter: String,
    /// Indices of what is to be seen, ascending.
    visible: Vec<usize>,
    selected: usize,
    /// Place in `visible` of the first row that is on the screen.
    top: usize,
    /// Rows that the screen has room for; 0 without a screen.
    room: usize,
}

/// Names a generation whose specialisations fold, over updates of the list.
#[derive(PartialEq, Eq)]
struct Fold {
    profile: Option<String>,
    number: Option<u32>,
}

impl Fold {
    fn of(row: &Row) -> Self {
        let Generation { profile, number, .. } = &row.generation;
        Self { profile: profile.clone(), number: *number }
    }
}

/// What folds under a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// How many specialisations.
    pub count: usize,
    /// Whether they are shown.
    pub open: bool,
}

/// Where an update left the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Kept,
    /// What was selected is not in the list any more.
    Lost,
}

impl List {
    /// All folds closed, the default selected.
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let mut list = Self {
            heads: heads(&rows),
            rows,
            open: Vec::new(),
            filter: String::new(),
            visible: Vec::new(),
            selected: 0,
            top: 0,
            room: 0,
        };
        list.select_default();
        list
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row that boots when nobody chooses.
    pub(super) fn default(&self) -> Option<usize> {
        let boots = |row: &Row| row.generation.default && row.generation.broken.is_none();
        self.rows.iter().position(boots)
    }

    /// The selected row; nothing if the filter matches none.
    pub(super) fn selected(&self) -> Option<usize> {
        self.place().map(|_| self.selected)
    }

    pub(super) fn selected_row(&self) -> Option<&Row> {
        self.rows.get(self.selected()?)
    }

    /// Indices of what is to be seen.
    pub(super) fn visible(&self) -> &[usize] {
        &self.visible
    }

    pub(super) fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// What folds under `index`, if that is so at present.
    pub(super) fn folded(&self, index: usize) -> Option<Folded> {
        if self.is_filtered() {
            return None;
        }
        let behind = self.heads.iter().enumerate().skip(index + 1);
        let count = behind.take_while(|&(_, &head)| head == index).count();
        (count > 0).then(|| Folded { count, open: self.is_open(index) })
    }

    /// Whether anything folds.
    pub(super) fn has_folds(&self) -> bool {
        !self.is_filtered() && self.heads.iter().enumerate().any(|(index, &head)| head != index)
    }

    /// Rows of which nothing is known but that they exist.
    pub(super) fn unread(&self) -> usize {
        self.rows.iter().filter(|row| row.generation.unread).count()
    }

    /// Takes in a new list; what is selected, open and filtered stays so.
    pub(super) fn update(&mut self, rows: Vec<Row>) -> Selection {
        let was_selected = self.selected();
        let place = self.rows.get(self.selected).map(|row| find_again(&rows, &row.generation));
        self.heads = heads(&rows);
        self.rows = rows;
        let selection = match place {
            Some(Some(index)) => {
                self.selected = index;
                Selection::Kept
            }
            Some(None) => {
                self.selected = self.selected.min(self.rows.len().saturating_sub(1));
                Selection::Lost
            }
            None => {
                self.selected = self.default().unwrap_or(0);
                Selection::Kept
            }
        };
        self.refresh();
        // A selection that stands does not move under somebody's hands; none can.
        if was_selected.is_none() {
            self.select_something();
        }
        selection
    }

    pub(super) fn select_default(&mut self) {
        self.select(self.default().unwrap_or(0));
    }

    /// Moves the selection by a row.
    pub(super) fn step(&mut self, down: bool) {
        self.move_by(1, down);
    }

    /// Moves it by what the screen holds.
    pub(super) fn page(&mut self, down: bool) {
        let rows = if self.room == 0 { PAGE } else { self.room };
        self.move_by(rows, down);
    }

    /// Moves it to the first row, or the last.
    pub(super) fn end(&mut self, last: bool) {
        self.move_by(self.rows.len(), last);
    }

    /// Selects the generation whose number is `typed`, or begins like that; where nothing has a
    /// number, the entry at that place. Gives whether there is one to be seen.
    pub(super) fn select_number(&mut self, typed: &str) -> bool {
        let found = self.find_number(typed);
        if let Some(index) = found {
            self.select(index);
        }
        found.is_some()
    }

    /// Opens the selected fold; gives the names of what is in it.
    pub(super) fn open_fold(&mut self) -> Vec<&str> {
        let Some(head) = self.selected_head() else { return Vec::new() };
        if !self.is_open(head) {
            self.open.push(Fold::of(&self.rows[head]));
        }
        self.refresh();
        let behind = self.rows.iter().zip(&self.heads).skip(head + 1);
        let inside = behind.take_while(|&(_, &of)| of == head);
        inside.filter_map(|(row, _)| row.generation.specialisation.as_deref()).collect()
    }

    /// Closes the fold that is selected or holds what is; the generation itself is selected then.
    pub(super) fn close_fold(&mut self) {
        let Some(head) = self.selected_head() else { return };
        let fold = Fold::of(&self.rows[head]);
        self.open.retain(|open| *open != fold);
        self.select(head);
    }

    /// Shows what `text` matches, and selects the first of it if need be.
    pub(super) fn set_filter(&mut self, text: &str) {
        self.filter = text.trim().to_ascii_lowercase();
        self.refresh();
        self.select_something();
    }

    /// A row that is not read yet and that somebody is waiting to see: the selected one, one that is
    /// on the screen, or, as any may match, one that the filter has still to be tried on.
    pub(super) fn wanted(&self) -> Option<usize> {
        let unread = |&index: &usize| self.rows.get(index).is_some_and(|r| r.generation.unread);
        let hidden = if self.is_filtered() { 0..self.rows.len() } else { 0..0 };
        iter::once(self.selected)
            .chain(self.visible.iter().skip(self.top).take(self.room).copied())
            .chain(hidden)
            .find(unread)
    }

    /// Brings the selection onto a screen of `room` rows, by half a screen at a time: each scroll
    /// sends all rows. Gives the place of the first row in what is to be seen, and what is seen.
    pub(super) fn scroll(&mut self, room: usize) -> (usize, &[usize]) {
        self.room = room;
        let place = self.place().unwrap_or(0);
        if !(self.top..self.top + room).contains(&place) {
            self.top = place.saturating_sub(room / 2);
        }
        self.top = self.top.min(self.visible.len().saturating_sub(room));
        let end = self.visible.len().min(self.top + room);
        (self.top, &self.visible[self.top..end])
    }

    fn is_open(&self, head: usize) -> bool {
        self.rows.get(head).is_some_and(|row| self.open.contains(&Fold::of(row)))
    }

    /// The row whose fold is selected, if there is one.
    fn selected_head(&self) -> Option<usize> {
        let head = *self.heads.get(self.selected()?)?;
        self.folded(head).map(|_| head)
    }

    /// Place of the selection in what is to be seen.
    fn place(&self) -> Option<usize> {
        self.visible.binary_search(&self.selected).ok()
    }

    fn move_by(&mut self, rows: usize, down: bool) {
        let last = self.visible.len().saturating_sub(1);
        let place = match (self.visible.binary_search(&self.selected), down) {
            (Ok(place), true) => last.min(place.saturating_add(rows)),
            (Ok(place) | Err(place), false) => place.saturating_sub(rows),
            (Err(place), true) => last.min(place.saturating_add(rows.saturating_sub(1))),
        };
        if let Some(&index) = self.visible.get(place) {
            self.select(index);
        }
    }

    fn select(&mut self, index: usize) {
        self.selected = index;
        self.refresh();
    }

    /// Selects the first row to be seen, if the selected one is not.
    fn select_something(&mut self) {
        if let (None, Some(&first)) = (self.place(), self.visible.first()) {
            self.select(first);
        }
    }

    /// Finds out what is to be seen.
    fn refresh(&mut self) {
        self.visible = (0..self.rows.len()).filter(|&index| self.is_visible(index)).collect();
    }

    fn is_visible(&self, index: usize) -> bool {
        let row = &self.rows[index];
        if self.is_filtered() {
            return matches(row, &self.filter);
        }
        let head = self.heads[index];
        head == index || index == self.selected || row.generation.default || self.is_open(head)
    }

    fn find_number(&self, typed: &str) -> Option<usize> {
        let can_be_seen = |&index: &usize| !self.is_filtered() || self.is_visible(index);
        if !super::columns::are_numbered(&self.rows) {
            let place = typed.parse::<usize>().ok()?.checked_sub(1)?;
            return (place < self.rows.len()).then_some(place).filter(can_be_seen);
        }
        let position = |fits: &dyn Fn(&str) -> bool| {
            let number = |index: &usize| self.rows[*index].generation.number;
            (0..self.rows.len())
                .filter(|index| number(index).is_some_and(|number| fits(&number.to_string())))
                .find(can_be_seen)
        };
        position(&|number| number == typed)
            .or_else(|| position(&|number| number.starts_with(typed)))
    }
}

/// For each row the one under which it folds: the generation right before it and its other
/// specialisations.
fn heads(rows: &[Row]) -> Vec<usize> {
    let mut heads: Vec<usize> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let above = heads.last().copied().filter(|&head| {
            let (head, own) = (&rows[head].generation, &row.generation);
            own.specialisation.is_some()
                && head.specialisation.is_none()
                && head.number.is_some()
                && (&head.number, &head.profile) == (&own.number, &own.profile)
        });
        heads.push(above.unwrap_or(index));
    }
    heads
}

/// Where a generation of the list before is now. The identity of one that was not read is replaced
/// when it is.
fn find_again(rows: &[Row], wanted: &Generation) -> Option<usize> {
    let position =
        |same: &dyn Fn(&Generation) -> bool| rows.iter().position(|row| same(&row.generation));
    position(&|other| other.id == wanted.id).or_else(|| {
        position(&|other| {
            wanted.number.is_some()
                && other.number == wanted.number
                && other.profile == wanted.profile
                && other.specialisation == wanted.specialisation
        })
    })
}

/// Whether all words of `filter` stand somewhere in what the row shows.
fn matches(row: &Row, filter: &str) -> bool {
    let generation = &row.generation;
    let number = generation.number.map(|number| number.to_string());
    let mut text = generation.title.to_ascii_lowercase();
    for part in [
        &number,
        &generation.profile,
        &generation.specialisation,
        &generation.date,
        &generation.version,
        &generation.kernel_version,
    ] {
        text += &format!(" {}", part.as_deref().unwrap_or_default().to_ascii_lowercase());
    }
    filter.split_whitespace().all(|word| text.contains(word))
}
