//! Files as runs of bytes on a volume.

use alloc::{string::String, vec::Vec};

use super::{Error, ErrorKind, File, Reading, located};
use crate::{
    block::{BLOCK_SIZE, volume::Volume},
    dma::Buffer,
};

/// A file in more pieces than this is refused: its map would take more than 3 MiB.
pub(super) const MAX_RUNS: usize = 1 << 17;

/// Consecutive bytes of a file that are consecutive on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Where it begins on the volume.
    pub(super) position: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Where a file is, in ascending order. What lies between two runs, or behind the last, is zero.
#[derive(Default)]
pub(super) struct RunMap(Vec<Run>);

/// Why a run cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunError {
    /// It does not begin behind the last one.
    OutOfOrder,
    /// There are [`MAX_RUNS`] already.
    TooMany,
}

impl RunMap {
    /// Appends a run, or lengthens the last one.
    pub(super) fn push(&mut self, run: Run) -> Result<(), RunError> {
        if let Some(last) = self.0.last_mut() {
            if run.offset < last.end() {
                return Err(RunError::OutOfOrder);
            }
            let continues = last.position.checked_add(last.length) == Some(run.position);
            if run.offset == last.end() && continues {
                last.length = last.length.saturating_add(run.length);
                return Ok(());
            }
        }
        if self.0.len() == MAX_RUNS {
            return Err(RunError::TooMany);
        }
        self.0.push(run);
        Ok(())
    }

    /// Where the byte at `offset` of the file is on the volume; `None` in a gap.
    pub(super) fn position(&self, offset: u64) -> Option<u64> {
        let run = self.0.get(self.0.partition_point(|run| run.end() <= offset))?;
        run.position.checked_add(offset.checked_sub(run.offset)?)
    }
}

/// An open file.
pub(super) struct RunFile {
    volume: Volume,
    path: String,
    size: u64,
    map: RunMap,
}

impl RunFile {
    pub(super) fn new(volume: Volume, path: String, size: u64, map: RunMap) -> Self {
        Self { volume, path, size, map }
    }

    /// Where up to `length` bytes at `offset` lie on the volume, how many do in one run, and `buffer`
    /// for as many whole blocks. Not for a gap, from which nothing is read.
    fn place(
        &self,
        offset: u64,
        length: usize,
        mut buffer: Buffer,
    ) -> Result<(u64, usize, Buffer), Buffer> {
        let end = offset.saturating_add(length as u64).min(self.size);
        let run = self.map.0.get(self.map.0.partition_point(|run| run.end() <= offset)).copied();
        let Some(run) = run.filter(|run| run.offset <= offset && offset < end) else {
            return Err(buffer);
        };
        let left = usize::try_from(run.end().min(end) - offset).unwrap_or(usize::MAX);
        let length = left.min(buffer.capacity());
        buffer.set_length(length.next_multiple_of(BLOCK_SIZE));
        Ok((run.position.saturating_add(offset - run.offset), length, buffer))
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, path: self.path.clone() }
    }
}

impl File for RunFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(destination.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.error(ErrorKind::BeyondEnd));
        }
        let mut position = offset;
        let mut rest = destination;
        let mut next = self.map.0.partition_point(|run| run.end() <= offset);
        while !rest.is_empty() {
            let run = self.map.0.get(next).copied();
            let in_run = run.filter(|run| run.offset <= position);
            let piece_end = match (in_run, run) {
                (Some(run), _) => run.end(),
                (None, Some(run)) => run.offset,
                (None, None) => u64::MAX,
            };
            let length = usize::try_from(piece_end - position).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(length.min(rest.len()));
            if let Some(run) = in_run {
                let at = run.position.saturating_add(position - run.offset);
                self.volume
                    .read_at(at, piece)
                    .map_err(|error| self.error(ErrorKind::Device(error)))?;
                next += 1;
            } else {
                piece.fill(0);
            }
            position += piece.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn start(&mut self, offset: u64, length: usize, buffer: Buffer) -> Result<Reading, Buffer> {
        let (position, length, buffer) = self.place(offset, length, buffer)?;
        let below = self.volume.start(position, buffer)?;
        Ok(Reading { below, length, path: self.path.clone() })
    }

    fn start_after(
        &mut self,
        before: Reading,
        offset: u64,
        length: usize,
        buffer: Buffer,
    ) -> (Result<(Buffer, usize), Error>, Result<Reading, Buffer>) {
        let (position, length, buffer) = match self.place(offset, length, buffer) {
            Ok(place) => place,
            Err(buffer) => return (before.finish(), Err(buffer)),
        };
        let Reading { below, length: length_before, path } = before;
        let (finished, started) = self.volume.start_after(below, position, buffer);
        let started = started.map(|below| Reading { below, length, path: path.clone() });
        (located(finished, length_before, path), started)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, rc::Rc, vec::Vec};
    use core::{cell::RefCell, ops::Range};

    use proptest::{collection, prelude::*};

    use super::*;
    use crate::{
        block::{self, BlockDevice, SharedDevice, cache::Cache},
        fs::{FileStream, Stream},
    };

    /// A card of known bytes that reads by itself, and fails where it is told to.
    struct Card {
        blocks: u64,
        bad_block: Option<u64>,
        started: Option<(u64, Buffer)>,
        starts: usize,
    }

    fn byte(position: u64) -> u8 {
        (position ^ position >> 8 ^ position >> 16).to_le_bytes()[0] | 1
    }

    impl BlockDevice for Card {
        fn name(&self) -> &str {
            "test card"
        }

        fn block_count(&self) -> u64 {
            self.blocks
        }

        fn read(&mut self, first: u64, destination: &mut [u8]) -> Result<(), block::Error> {
            let blocks = first..first + (destination.len() / 512) as u64;
            if let Some(block) = self.bad_block.filter(|bad| blocks.contains(bad)) {
                let kind = block::ErrorKind::Transfer;
                return Err(block::Error { kind, device: self.name().into(), block });
            }
            for (position, to) in (first * 512..).zip(destination) {
                *to = byte(position);
            }
            Ok(())
        }

        fn start(&mut self, first_block: u64, buffer: Buffer) -> Result<(), Buffer> {
            if self.started.is_some() {
                return Err(buffer);
            }
            self.starts += 1;
            self.started = Some((first_block, buffer));
            Ok(())
        }

        fn finish(&mut self) -> Result<Buffer, block::Error> {
            let (first, mut buffer) = self.started.take().expect("a read that was started");
            self.read(first, &mut buffer)?;
            Ok(buffer)
        }

        fn abandon(&mut self) {
            self.started = None;
        }
    }

    const VOLUME: u64 = 8 << 20;

    impl Card {
        fn new() -> Self {
            Self { blocks: VOLUME / 512, bad_block: None, started: None, starts: 0 }
        }
    }

    fn card() -> Rc<RefCell<Card>> {
        Rc::new(RefCell::new(Card::new()))
    }

    /// A file of pieces and gaps: each so many blocks long, the pieces at these blocks.
    fn file(device: SharedDevice, unit: u64, parts: &[(u64, Option<u64>)], cut: u64) -> RunFile {
        let mut map = RunMap::default();
        let mut offset = 0;
        for &(blocks, place) in parts {
            let length = blocks * unit;
            if let Some(place) = place {
                let position = place * unit % (VOLUME - length);
                let position = position - position % unit;
                map.push(Run { offset, position, length }).expect("in order");
            }
            offset += length;
        }
        RunFile::new(Volume::whole(device), "/file".into(), offset.saturating_sub(cut), map)
    }

    fn expected(file: &RunFile, range: Range<u64>) -> Vec<u8> {
        range.map(|offset| file.map.position(offset).map_or(0, byte)).collect()
    }

    fn all(stream: &mut FileStream<'_>, steps: &[usize]) -> Result<Vec<u8>, Error> {
        let mut read = Vec::new();
        for step in steps.iter().cycle() {
            let bytes = stream.peek()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(*step);
            read.extend_from_slice(&bytes[..count]);
            stream.consume(count);
        }
        Ok(read)
    }

    fn parts() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
        let length = prop_oneof![1..8_u64, 1..400_u64, 100..800_u64];
        let place = prop_oneof![3 => (0..16_384_u64).prop_map(Some), 1 => Just(None)];
        collection::vec((length, place), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_stream_is_the_bytes_of_its_range_whatever_the_file_looks_like(
            parts in parts(),
            unit in prop_oneof![Just(512_u64), Just(4096)],
            cut in 0..512_u64,
            from in 0.0..1.0_f64,
            to in 0.0..1.0_f64,
            steps in collection::vec(1..700_000_usize, 1..5),
            cached in any::<bool>(),
        ) {
            // With the cache in front, as the loader has it, or without.
            let device: SharedDevice =
                if cached { Rc::new(RefCell::new(Cache::new(Card::new()))) } else { card() };
            let mut file = file(device, unit, &parts, cut);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                    clippy::cast_precision_loss, reason = "any place in the file will do")]
            let place = |part: f64| (file.size as f64 * part) as u64;
            let range = place(from.min(to))..place(from.max(to));
            let expected = expected(&file, range.clone());
            let mut stream = FileStream::new(&mut file, range);
            let read = all(&mut stream, &steps).expect("a good card");
            prop_assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
            prop_assert!(stream.peek().expect("the end").is_empty());
        }
    }

    #[test]
    fn the_next_piece_is_on_its_way_before_the_one_at_hand_is_consumed() {
        let card = card();
        let mut file = file(card.clone(), 4096, &[(1024, Some(3))], 0);
        let mut stream = FileStream::new(&mut file, 0..4 << 20);
        let mut left = 4 << 20;
        while left > 0 {
            let count = stream.peek().expect("a good card").len();
            stream.consume(count * 2 / 3);
            assert_eq!(card.borrow().started.is_some(), left > count, "{left}");
            stream.consume(count - count * 2 / 3);
            left -= count;
        }
        assert!(stream.peek().expect("the end").is_empty());
    }

    #[test]
    fn who_only_looks_at_the_beginning_sends_for_nothing_else() {
        let card = card();
        let mut file = file(card.clone(), 4096, &[(1024, Some(3))], 0);
        let mut stream = FileStream::new(&mut file, 0..4 << 20);
        let count = stream.peek().expect("a good card").len();
        assert!(count <= 32 * 1024, "{count}");
        stream.consume(count / 2 - 1);
        assert_eq!(card.borrow().starts, 0);
    }

    #[test]
    fn a_piece_that_cannot_be_read_is_an_error_each_time_and_the_bytes_before_it_are_good() {
        let card = card();
        card.borrow_mut().bad_block = Some(6000);
        let mut file = file(card.clone(), 512, &[(8192, Some(0))], 0);
        let mut stream = FileStream::new(&mut file, 0..8192 * 512);
        let mut good = 0;
        let error = loop {
            match stream.peek() {
                Ok(bytes) => {
                    let count = bytes.len();
                    assert!(count > 0, "the end was not reached");
                    assert!((good..).zip(bytes).all(|(at, &found)| found == byte(at)));
                    good += count as u64;
                    stream.consume(count);
                }
                Err(error) => break error,
            }
        };
        assert!(good <= 6000 * 512 && good > 4000 * 512, "{good}");
        assert!(matches!(error.kind, ErrorKind::Device(_)));
        assert_eq!(error.path, "/file");
        assert_eq!(stream.peek(), Err(error));
        // A card that has come to its senses goes on where it failed.
        card.borrow_mut().bad_block = None;
        assert!((good..).zip(stream.peek().expect("good again")).all(|(at, &b)| b == byte(at)));
    }

    #[test]
    fn a_stream_that_is_given_up_leaves_nothing_underway() {
        let card = card();
        let mut file: Box<dyn File> = Box::new(file(card.clone(), 4096, &[(1024, Some(3))], 0));
        let mut stream = FileStream::new(&mut *file, 0..4 << 20);
        let count = stream.peek().expect("a good card").len();
        stream.consume(count);
        assert!(card.borrow().started.is_some());
        drop(stream);
        assert!(card.borrow().started.is_none());
    }

    #[test]
    fn two_streams_of_one_card_do_not_get_each_others_bytes() {
        let card = card();
        let mut files = [5, 900].map(|at| file(card.clone(), 4096, &[(512, Some(at))], 7));
        let expected = [&files[0], &files[1]].map(|file| self::expected(file, 0..file.size));
        let [a, b] = &mut files;
        let (size_a, size_b) = (a.size, b.size);
        let mut streams = [FileStream::new(a, 0..size_a), FileStream::new(b, 0..size_b)];
        let mut read = [Vec::new(), Vec::new()];
        loop {
            let before = read[0].len() + read[1].len();
            for (stream, read) in streams.iter_mut().zip(&mut read) {
                let bytes = stream.peek().expect("a good card");
                read.extend_from_slice(bytes);
                let count = bytes.len();
                stream.consume(count);
            }
            if read[0].len() + read[1].len() == before {
                break;
            }
        }
        assert!(read == expected);
    }

    #[test]
    fn only_whole_blocks_of_one_run_are_read_ahead() {
        let card = card();
        let parts = [(1, Some(1)), (1, None), (3, Some(8))];
        let mut file = file(card.clone(), 4096, &parts, 100);
        let buffer = || Buffer::new(65_536);
        for offset in [1, 511, 4096, 8191, 8193, file.size, u64::MAX] {
            file.start(offset, 512, buffer()).expect_err("not in this way");
        }
        file.start(0, 0, buffer()).expect_err("nothing");
        for (offset, asked, got) in [(0, 65_536, 4096), (512, 1, 1), (8192, 65_536, 12_188)] {
            let reading = file.start(offset, asked, buffer()).expect("whole blocks");
            let (buffer, length) = reading.finish().expect("a good card");
            assert_eq!(length, got, "{offset}");
            let end = offset + length as u64;
            assert_eq!(buffer[..length], expected(&file, offset..end)[..], "{offset}");
        }
        assert_eq!(card.borrow().starts, 3);
    }
}
