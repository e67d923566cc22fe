//! Writing: blocks go out, and the card is asked whether it has kept them.
//!
//! An eMMC gets reliable writes: each block holds its old contents until the new ones are there
//! (eMMC 6.6.11). SD cards have nothing of the kind.

use super::{
    Command, Error, Host, Outgoing, Response, ResponseKind,
    card::{self, Bounce, Identity},
    contents::{ReliableWrites, ext_csd, status},
    emmc,
};
use crate::block::BLOCK_SIZE;

/// CMD23: what follows is a reliable write.
const RELIABLE: u32 = 1 << 31;

/// Writes blocks from where the bus master reaches them, else by way of the stack.
pub(super) fn write_chunk(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    source: &[u8],
) -> Result<(), Error> {
    match write_range(host, identity, block, source) {
        Err(Error::Unreachable) => write_bounced(host, identity, block, source)?,
        done => done?,
    }
    if identity.cache_on {
        emmc::write_field(host, ext_csd::FLUSH_CACHE, 1)?;
        let told = card::wait_for_transfer_state(host, identity.address, card::PROGRAM)?;
        judge(6, told | if told & status::SWITCH == 0 { 0 } else { status::ERROR })?;
    }
    Ok(())
}

fn write_bounced(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    source: &[u8],
) -> Result<(), Error> {
    let mut bounce = Bounce::new();
    let mut block = block;
    for part in source.chunks(bounce.0.len()) {
        let bounce = &mut bounce.0[..part.len()];
        bounce.copy_from_slice(part);
        write_range(host, identity, block, bounce)?;
        block += blocks_in(part);
    }
    Ok(())
}

/// Writes blocks with as few commands as the card allows.
fn write_range(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    source: &[u8],
) -> Result<(), Error> {
    let Some(reliable) = identity.reliable_writes else {
        return write_plainly(host, identity, block, source);
    };
    let mut block = block;
    let mut rest = source;
    while !rest.is_empty() {
        let count = match reliable {
            ReliableWrites::Any => blocks_in(rest),
            ReliableWrites::OneOr(unit) => {
                let unit = u64::from(unit);
                if block.is_multiple_of(unit) && blocks_in(rest) >= unit { unit } else { 1 }
            }
        };
        let bytes = usize::try_from(count).map_or(rest.len(), |count| count * BLOCK_SIZE);
        let (piece, behind) = rest.split_at(bytes.min(rest.len()));
        write_reliably(host, identity, block, piece)?;
        block += count;
        rest = behind;
    }
    Ok(())
}

fn write_reliably(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    source: &[u8],
) -> Result<(), Error> {
    let argument = identity.argument(block)?;
    let count = u32::try_from(blocks_in(source)).map_err(|_| Error::OutOfRange)?;
    card::check(23, host.command(Command::new(23, RELIABLE | count, ResponseKind::Short))?)?;
    let command = Command::new(25, argument, ResponseKind::Short);
    write(host, identity, Outgoing { command, stop: false, source })
}

/// Writes one block, or several until the card is told to stop.
fn write_plainly(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    source: &[u8],
) -> Result<(), Error> {
    let several = source.len() > BLOCK_SIZE;
    let index = if several { 25 } else { 24 };
    let command = Command::new(index, identity.argument(block)?, ResponseKind::Short);
    write(host, identity, Outgoing { command, stop: several, source })
}

/// Sends the blocks and waits until the card has programmed them. It tells what went wrong in
/// any of its answers up to then, and only once.
fn write(host: &mut impl Host, identity: &Identity, outgoing: Outgoing<'_>) -> Result<(), Error> {
    let Outgoing { command: Command { index, .. }, stop, .. } = outgoing;
    let answer = host.write(outgoing)?;
    let stopped = if stop { Response::stop(answer) } else { 0 };
    let told = card::wait_for_transfer_state(host, identity.address, card::PROGRAM)?;
    judge(index, answer.short() | stopped | told)
}

fn judge(index: u8, told: u32) -> Result<(), Error> {
    if told & status::PROTECTED != 0 {
        return Err(Error::WriteProtected);
    }
    match told & status::ERRORS {
        0 => Ok(()),
        _ => Err(Error::Status(index, told)),
    }
}

fn blocks_in(bytes: &[u8]) -> u64 {
    (bytes.len() / BLOCK_SIZE) as u64
}
