//! Why memory could not be brought up.

use core::fmt;

use crate::error::{Code, Coded};

use super::{firmware::Memory, mailbox::Heard, timing::Kind};

/// Where the bring-up was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// First clock of memory and controller.
    Clock,
    /// Keeping the controller off the memory.
    StandBack,
    /// A training run's clock.
    RunClock,
    /// Loading a run's firmware.
    Load,
    /// A training run.
    Train,
    /// The impedance calibration after training.
    Calibrate,
    /// Starting the PHY with what it was trained to.
    StartPhy,
    /// Giving the memory to the controller.
    TakeOver,
    /// Filling memory for its error-correcting codes.
    Fill,
    /// Asking the controller how much memory there is.
    Size,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => "setting the first clock",
            Self::StandBack => "preparing the controller",
            Self::RunClock => "setting the clock",
            Self::Load => "loading the firmware",
            Self::Train => "training",
            Self::Calibrate => "calibrating the PHY",
            Self::StartPhy => "starting the PHY",
            Self::TakeOver => "starting the controller",
            Self::Fill => "filling memory for its error-correcting codes",
            Self::Size => "asking for the size",
        })
    }
}

/// What happened there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A register did not become what it should.
    NoAnswer {
        /// Its address.
        register: u32,
        /// The bits that count.
        mask: u32,
        /// What they should be.
        want: u32,
        /// What was read last.
        read: u32,
    },
    /// There is no clock for this data rate, in MT/s.
    NoClock(u16),
    /// The PHY does not hold the firmware that was written to it.
    FirmwareDamaged {
        /// Which of its memories.
        memory: Memory,
        /// The first register that differs.
        register: u32,
        /// What was written there.
        wrote: u16,
        /// What was read there.
        read: u16,
        /// How many registers differ.
        differing: u32,
    },
    /// The firmware says so.
    TrainingFailed,
    /// The firmware sends no mail.
    NoMail,
    /// The firmware does not see that a mail was taken.
    NoAcknowledgement,
    /// The firmware talks, but comes to no end.
    Endless,
    /// The controller's address map makes no sense.
    NoSize,
}

/// A training run, as a user counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunName {
    /// From 0 on.
    pub index: usize,
    /// Data rate in MT/s.
    pub rate: u16,
    /// Which kind.
    pub kind: Kind,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::OneD => "1D",
            Kind::TwoD => "2D",
        };
        write!(f, "run {} ({kind} at {} MT/s)", self.index, self.rate)
    }
}

/// Memory could not be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where it was.
    pub step: Step,
    /// In which training run.
    pub run: Option<RunName>,
    /// What happened.
    pub cause: Cause,
    /// What the firmware had said in this run.
    pub heard: Heard,
    /// What the firmware left behind, if somebody [looked](super::examine).
    pub evidence: Option<Evidence>,
}

/// What a run left in the message block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Revision of the firmware.
    pub revision: u16,
    /// A bit for each rank that it failed on; filled in when a run ends.
    pub failed_ranks: u8,
}

impl Error {
    pub(super) const fn at(step: Step, cause: Cause) -> Self {
        let heard = Heard { words: 0, last: None, stage: None, message: None };
        Self { step, run: None, cause, heard, evidence: None }
    }

    pub(super) const fn in_run(self, run: RunName, heard: Heard) -> Self {
        Self { run: Some(run), heard, ..self }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.cause {
            Cause::FirmwareDamaged { .. } => Code::DramFirmwareDamaged,
            Cause::TrainingFailed => Code::DramTrainingFailed,
            Cause::NoMail | Cause::NoAcknowledgement | Cause::Endless => Code::DramTrainingSilent,
            Cause::NoClock(_) => Code::DramClock,
            Cause::NoAnswer { .. } if matches!(self.step, Step::Clock | Step::RunClock) => {
                Code::DramClock
            }
            Cause::NoAnswer { .. } | Cause::NoSize => Code::DramController,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DRAM: {}", self.step)?;
        if let Some(run) = self.run {
            write!(f, ", {run}")?;
        }
        write!(f, ": {}", self.cause)?;
        if self.step == Step::Train {
            self.heard.fmt(f)?;
        }
        if let Some(Evidence { revision, failed_ranks }) = self.evidence {
            write!(f, "; firmware revision {revision:#06x}")?;
            // A run that came to no end has not filled it in.
            if self.cause == Cause::TrainingFailed {
                write!(f, ", failed ranks {failed_ranks:#04x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoAnswer { register, mask, want, read } => write!(
                f,
                "register {register:#x} stays {read:#x}; bits {mask:#x} should become {want:#x}"
            ),
            Self::NoClock(rate) => write!(f, "there is no clock for {rate} MT/s"),
            Self::FirmwareDamaged { memory, register, wrote, read, differing } => {
                let memory = match memory {
                    Memory::Imem => "instruction",
                    Memory::Dmem => "data",
                };
                write!(
                    f,
                    "{differing} halfwords of the {memory} memory are not what was written; the \
                     first is {read:#06x} at {register:#x}, not {wrote:#06x}"
                )
            }
            Self::TrainingFailed => f.write_str("the firmware reports failure"),
            Self::NoMail => f.write_str("the firmware sends no mail"),
            Self::NoAcknowledgement => f.write_str("the firmware does not see that mail was taken"),
            Self::Endless => f.write_str("the firmware comes to no end"),
            Self::NoSize => f.write_str("the controller's address map makes no sense"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            None => f.write_str("; nothing was heard of it")?,
            Some(mail) => write!(f, "; {} words of mail, the last mail {mail}", self.words)?,
        }
        if let Some(stage) = self.stage {
            write!(f, ", the last stage {stage}")?;
        }
        if let Some(message) = self.message {
            write!(f, "; the last message {message:#010x}")?;
        }
        Ok(())
    }
}
