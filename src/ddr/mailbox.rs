//! The mailbox: what the training firmware tells while it runs.
//!
//! A mail is ready when bit 0 of `UctShadowRegs` is clear. The reader takes it, clears
//! `DctWriteProt`, waits until the firmware has seen that, and sets it again. A mail announces a
//! stage, an end, or a message of several words: an index of a text, whose low half is the number of
//! arguments, and as many arguments.

use core::fmt;

use crate::{
    mmio::Bus,
    time::{Clock, Deadline},
};

use super::{
    error::Cause,
    phy::address,
    ports::{ACKNOWLEDGE, MAIL, Ports, RUN},
};

/// `UctShadowRegs`, the two halves of a mail, and `DctWriteProt`.
const STATE: u32 = address(0xd_0004);
const LOW: u32 = address(0xd_0032);
const HIGH: u32 = address(0xd_0034);
const ACKNOWLEDGED: u32 = address(0xd_0031);
/// Set while there is no mail.
const STATE_EMPTY: u32 = 1;

/// A mail, as the firmware's major message codes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mail(pub u16);

impl Mail {
    const PASSED: Self = Self(0x07);
    const MESSAGE: Self = Self(0x08);
    const FAILED: Self = Self(0xff);

    /// What it says, if that is known.
    const fn meaning(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "end of initialization",
            0x01 => "end of fine write levelling",
            0x02 => "end of read enable training",
            0x03 => "end of read delay centring",
            0x04 => "end of write delay centring",
            0x05 => "end of 2D read delay and voltage centring",
            0x06 => "end of 2D write delay and voltage centring",
            0x07 => "training passed",
            0x08 => "a message follows",
            0x09 => "end of maximum read latency training",
            0x0a => "end of read deskew training",
            0xff => "training failed",
            _ => return None,
        })
    }
}

impl fmt::Display for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)?;
        self.meaning().map_or(Ok(()), |meaning| write!(f, " ({meaning})"))
    }
}

/// What was heard of a run so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Mails, with the words of messages.
    pub words: u32,
    /// The last mail.
    pub last: Option<Mail>,
    /// The last stage whose end was announced.
    pub stage: Option<Mail>,
    /// The index of the last message's text.
    pub message: Option<u32>,
}

/// The mailbox during one run.
pub(super) struct Mailbox<'a, B, C> {
    ports: Ports<'a, B, C>,
    end: Deadline,
    pub(super) heard: Heard,
}

impl<'a, B: Bus, C: Clock> Mailbox<'a, B, C> {
    /// For a run that begins now.
    pub(super) fn new(ports: Ports<'a, B, C>) -> Self {
        let end = Deadline::after(ports.clock, RUN);
        Self { ports, end, heard: Heard::default() }
    }

    /// Listens until the run ends.
    pub(super) fn await_end(&mut self) -> Result<(), Cause> {
        loop {
            // The high half is of no use: codes have one byte.
            let mail = Mail((self.receive(|_| 0)? & 0xffff) as u16);
            self.heard.last = Some(mail);
            match mail {
                Mail::PASSED => return Ok(()),
                Mail::FAILED => return Err(Cause::TrainingFailed),
                Mail::MESSAGE => self.skip_message()?,
                // Codes that nobody has told of are stages, too.
                stage => self.heard.stage = Some(stage),
            }
        }
    }

    /// The texts are not public, so a message is only counted.
    fn skip_message(&mut self) -> Result<(), Cause> {
        let high = |ports: &Ports<'a, B, C>| ports.read(HIGH);
        let index = self.receive(high)?;
        self.heard.message = Some(index);
        for _ in 0..index & 0xffff {
            self.receive(high)?;
        }
        Ok(())
    }

    fn receive(&mut self, high: impl FnOnce(&Ports<'a, B, C>) -> u32) -> Result<u32, Cause> {
        if self.end.passed(self.ports.clock) {
            return Err(Cause::Endless);
        }
        self.ports.poll(STATE, STATE_EMPTY, 0, MAIL).map_err(|_| Cause::NoMail)?;
        let low = self.ports.read(LOW) & 0xffff;
        let word = high(&self.ports) << 16 | low;
        self.ports.write(ACKNOWLEDGED, 0);
        self.ports
            .poll(STATE, STATE_EMPTY, STATE_EMPTY, ACKNOWLEDGE)
            .map_err(|_| Cause::NoAcknowledgement)?;
        self.ports.write(ACKNOWLEDGED, 1);
        self.heard.words += 1;
        Ok(word)
    }
}
