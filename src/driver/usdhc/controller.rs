//! The host controller: reset, clock, bus, commands, tuning. Knows no pads, power or memory.
//!
//! Registers that this hardware family is known not to read back faithfully (MIX_CTRL, VEND_SPEC,
//! PROT_CTRL) are written from the state kept here. The resets of SYS_CTRL are asked for one at a
//! time. Nothing here uses interrupts.

use core::time::Duration;

use tock_registers::{LocalRegisterCopy, fields::FieldValue};

use super::{
    divider::{Divider, IDENTIFICATION_HERTZ, READ_TIME_OUT, WRITE_TIME_OUT},
    registers::{
        ADMA_ERR_STATUS, ADMA_SYS_ADDR, AUTOCMD12_ERR_STATUS, BLK_ATT, Block, CLK_TUNE_CTRL_STATUS,
        CMD_ARG, CMD_RSP, CMD_XFR_TYP, DLL_CTRL, INT_SIGNAL_EN, INT_STATUS, INT_STATUS_EN,
        MIX_CTRL, MMC_BOOT, PRES_STATE, PROT_CTRL, STROBE_DLL_CTRL, STROBE_DLL_STATUS, SYS_CTRL,
        TUNING_CTRL, VEND_SPEC, WTMK_LVL,
    },
};
use crate::{
    driver::sd::{BusWidth, Command, Error, Fault, Mode, Response, ResponseKind, Timing},
    mmio::Bus,
    time::{Clock, Deadline, poll, poll_until},
};

/// VEND_SPEC after reset, and with the bits of older members of the family that run their clocks
/// (U-Boot, `VENDORSPEC_INIT`).
const VEND_SPEC_INIT: u32 = 0x2000_7809;
/// FIFO watermarks and bursts for DMA: 64 words, 16 words (Linux, `ESDHC_WTMK_DEFAULT_VAL`).
const WATERMARK_WORDS: u32 = 64;
const BURST_WORDS: u32 = 16;
/// SYS_CTRL's lowest bits, reserved ones that start the clocks on older members of the family.
const ALWAYS_ONE: u32 = 0xf;
/// Updates of the strobe's delay line (Linux, `ESDHC_STROBE_DLL_CTRL_SLV_UPDATE_INT_DEFAULT`).
const STROBE_UPDATE_INTERVAL: u32 = 4;
/// Tuning blocks that are asked for until the controller has made up its mind (SDHCI 2.2.29).
const TUNING_BLOCKS: u32 = 40;

/// A reset of the whole controller or of a line.
const RESET: Duration = Duration::from_millis(100);
/// The clock runs that long after it was told so.
const CLOCK_SETTLES: Duration = Duration::from_millis(10);
/// It stands still after so many of its clocks, and if nobody knows how fast it was, after so long
/// (Linux, `esdhc_wait_for_card_clock_gate_off`).
const GATING_CLOCKS: u64 = 20;
const CLOCK_GATES: Duration = Duration::from_micros(100);
/// A controller is ready for a command, and a card has answered it: 64 clocks.
const COMMAND: Duration = Duration::from_millis(100);
/// A card is busy no longer: what an eMMC may ask for in GENERIC_CMD6_TIME.
const BUSY: Duration = Duration::from_millis(2600);
/// Above the controller's own data time-out, without the time that the data takes.
const DATA: Duration = Duration::from_secs(2);
/// Above what a card may be busy with what it received.
const PROGRAM: Duration = Duration::from_secs(3);
/// Cards may send at a fraction of the line's rate.
const SLOWNESS: u32 = 8;
/// One tuning block.
const TUNING: Duration = Duration::from_millis(50);
/// The strobe's delay line locks (Linux: 50 us, U-Boot: 5 ms).
const STROBE: Duration = Duration::from_millis(5);
/// A card pulls its lines low, and releases them again, in a voltage switch (SD 4.2.4.2: 1 ms).
const VOLTAGE_LINES: Duration = Duration::from_millis(2);

/// What tuning and strobe need to know of the board.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// First delay cell that tuning tries.
    pub start_tap: u8,
    /// Delay cells between two tries.
    pub step: u8,
    /// Delay of the strobe, in units of its delay line.
    pub strobe_delay: u8,
}

/// Which way data moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    FromCard,
    ToCard,
}

/// What moves with a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) direction: Direction,
    pub(super) block_size: u16,
    pub(super) blocks: u16,
    /// End with CMD12.
    pub(super) stop: bool,
    /// Bus address of the descriptor table.
    pub(super) table: u32,
}

/// A command that the card has answered; its data may still move.
#[derive(Debug)]
pub(super) struct Begun {
    command: Command,
    response: Response,
    /// What moves, and until when it has to be there.
    data: Option<(Data, Deadline)>,
}

type Status = LocalRegisterCopy<u32, INT_STATUS::Register>;
type Mix = FieldValue<u32, MIX_CTRL::Register>;

#[derive(Debug)]
pub(super) struct Controller<B, C> {
    registers: Block<B>,
    clock: C,
    /// The clock that the card clock is divided from, in hertz.
    root: u32,
    sampling: Sampling,
    timing: Timing,
    width: BusWidth,
    divider: Divider,
    /// The VSELECT pin asks for 1.8 V.
    low_voltage: bool,
    /// The card clock was started.
    running: bool,
    /// A sampling point was found, and is used.
    tuned: bool,
}

impl<B: Bus, C: Clock> Controller<B, C> {
    pub(super) fn new(bus: B, base: u32, clock: C, root: u32, sampling: Sampling) -> Self {
        Self {
            registers: Block::new(bus, base),
            clock,
            root,
            sampling,
            timing: Timing::Default,
            width: BusWidth::One,
            divider: Divider::for_clock(root, IDENTIFICATION_HERTZ, false),
            low_voltage: false,
            running: false,
            tuned: false,
        }
    }

    pub(super) fn bus(&self) -> &B {
        self.registers.bus()
    }

    pub(super) fn clock(&self) -> &C {
        &self.clock
    }

    /// Whether a command can be sent at all.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// What the WP pin says: the switch is at "lock".
    pub(super) fn is_locked(&self) -> bool {
        !self.registers.read(PRES_STATE).is_set(PRES_STATE::WPSPL)
    }

    pub(super) fn is_low_voltage(&self) -> bool {
        self.low_voltage
    }

    /// Stops the card clock and leaves the lines at the voltage that they have, whoever chose it.
    pub(super) fn halt(&mut self) {
        self.low_voltage = self.registers.read(VEND_SPEC).is_set(VEND_SPEC::VSELECT);
        self.stop_clock();
    }

    /// Resets everything, whatever the stage before left. The card clock stands still before and
    /// afterwards.
    pub(super) fn reset(&mut self, low_voltage: bool) -> Result<(), Error> {
        self.low_voltage = low_voltage;
        self.timing = Timing::Default;
        self.width = BusWidth::One;
        self.tuned = false;
        self.pulse(SYS_CTRL::RSTA::SET)?;
        self.pulse(SYS_CTRL::RSTT::SET)?;
        // These survive the reset, or may.
        self.write_vend_spec(false);
        self.registers.set(MMC_BOOT, 0);
        self.registers.set(AUTOCMD12_ERR_STATUS, 0);
        self.registers.set(CLK_TUNE_CTRL_STATUS, 0);
        self.registers.set(DLL_CTRL, 0);
        self.registers.set(STROBE_DLL_CTRL, 0);
        self.write_mix(Mix::new(0, 0, 0));
        self.registers.set(INT_SIGNAL_EN, 0);
        self.enable_status();
        self.registers.write(
            WTMK_LVL,
            WTMK_LVL::RD_WML.val(WATERMARK_WORDS)
                + WTMK_LVL::RD_BRST_LEN.val(BURST_WORDS)
                + WTMK_LVL::WR_WML.val(WATERMARK_WORDS)
                + WTMK_LVL::WR_BRST_LEN.val(BURST_WORDS),
        );
        self.registers.write(
            TUNING_CTRL,
            TUNING_CTRL::START_TAP.val(u32::from(self.sampling.start_tap))
                    + TUNING_CTRL::STEP.val(u32::from(self.sampling.step))
                    // Else the next command would come before the block of a damaged one.
                    + TUNING_CTRL::DISABLE_CMD_CRC_CHECK::SET
                    + TUNING_CTRL::STD_TUNING_EN::SET,
        );
        self.write_bus(true);
        Ok(())
    }

    /// Lets the card clock run at identification speed.
    pub(super) fn start_identification(&mut self) -> Result<(), Error> {
        let divider = Divider::for_clock(self.root, IDENTIFICATION_HERTZ, false);
        self.change_clock(divider)?;
        self.start_clock();
        Ok(())
    }

    /// Takes timing, clock (at most `hertz`) and width.
    pub(super) fn set_mode(&mut self, mode: Mode, hertz: u32) -> Result<(), Error> {
        let divider = Divider::for_clock(self.root, hertz, mode.timing.is_ddr());
        let same_clock = self.running && divider == self.divider;
        if same_clock && [mode.timing, self.timing] == [Timing::Default; 2] {
            self.width = mode.width;
            self.write_bus(true);
            return Ok(());
        }
        self.stop_clock();
        self.timing = mode.timing;
        self.width = mode.width;
        if mode.timing == Timing::Default {
            self.forget_tuning()?;
        }
        // The data rate first: it takes part in the division.
        self.write_mix(Mix::new(0, 0, 0));
        self.write_bus(true);
        self.change_clock(divider)?;
        if mode.timing.has_strobe() {
            self.lock_strobe()?;
        }
        self.start_clock();
        Ok(())
    }

    /// Stops the clock, changes VSELECT, lets `settle` pass, starts it again and watches the card's
    /// lines all the way (SD 4.2.4.2).
    pub(super) fn switch_to_1v8(&mut self, settle: impl FnOnce(&C)) -> Result<(), Error> {
        const LOW: u32 = 0;
        const HIGH: u32 = 0xf;
        self.wait_for_lines(LOW)?;
        self.stop_clock();
        self.set_low_voltage(true);
        settle(&self.clock);
        self.start_clock();
        self.wait_for_lines(HIGH)
    }

    /// Waits until the card holds DAT0 to DAT3 at `levels`.
    fn wait_for_lines(&self, levels: u32) -> Result<(), Error> {
        poll(&self.clock, VOLTAGE_LINES, || {
            (self.registers.read(PRES_STATE).read(PRES_STATE::DLSL_4BIT) == levels).then_some(())
        })
        .map_err(|_| Error::VoltageSwitch)
    }

    /// Changes VSELECT; the card clock stands still.
    pub(super) fn set_low_voltage(&mut self, low_voltage: bool) {
        self.low_voltage = low_voltage;
        self.write_vend_spec(false);
    }

    /// Sends a command, with or without data, and waits for its end. After an error the lines are
    /// reset: no DMA goes on.
    pub(super) fn run(&mut self, command: Command, data: Option<Data>) -> Result<Response, Error> {
        let begun = self.begin(command, data)?;
        self.end(begun)
    }

    /// Sends a command and waits for its answer; its data moves by itself, and is to be waited for
    /// with [`Self::end`] before anything else. After an error the lines are reset: no DMA goes on.
    pub(super) fn begin(&mut self, command: Command, data: Option<Data>) -> Result<Begun, Error> {
        let begun = self.try_begin(command, data);
        if begun.is_err() {
            self.reset_lines()?;
        }
        begun
    }

    /// Waits for the end of what was begun. After an error the lines are reset: no DMA goes on.
    pub(super) fn end(&mut self, begun: Begun) -> Result<Response, Error> {
        let done = self.try_end(begun);
        if done.is_err() {
            self.reset_lines()?;
        }
        done
    }

    fn try_begin(&mut self, command: Command, data: Option<Data>) -> Result<Begun, Error> {
        let busy = command.response == ResponseKind::ShortBusy;
        self.wait_until_ready(data.is_some() || busy && command.index != STOP)?;
        self.clear_status();
        if let Some(data) = data {
            self.prepare(data);
        }
        self.registers.set(CMD_ARG, command.argument);
        self.write_mix(data.map_or(Mix::new(0, 0, 0), |data| mix_of(command, data)));
        self.registers.write(CMD_XFR_TYP, type_of(command, data.is_some()));

        let answered = Deadline::after(&self.clock, COMMAND);
        self.wait_for(command.index, answered, INT_STATUS::CC::SET)?;
        let response = Response(CMD_RSP.map(|register| self.registers.read(register).get()));
        let data = data.map(|data| (data, self.deadline(data)));
        Ok(Begun { command, response, data })
    }

    fn try_end(&mut self, begun: Begun) -> Result<Response, Error> {
        let Begun { command, mut response, data } = begun;
        if let Some((_, deadline)) = data {
            self.wait_for(command.index, deadline, INT_STATUS::TC::SET)?;
            // The answer to the controller's own CMD12.
            response.0[3] = self.registers.read(CMD_RSP[3]).get();
        }
        let to_card = data.is_some_and(|(data, _)| data.direction == Direction::ToCard);
        if to_card || command.response == ResponseKind::ShortBusy {
            self.wait_while_busy(command.index)?;
        }
        Ok(response)
    }

    /// Until when `data`, which begins to move now, has to be there.
    fn deadline(&self, data: Data) -> Deadline {
        let waits = match data.direction {
            Direction::FromCard => DATA,
            Direction::ToCard => PROGRAM,
        };
        Deadline::after(&self.clock, waits + self.duration(data) * SLOWNESS)
    }

    /// Searches the sampling point: the controller compares tuning blocks by itself.
    pub(super) fn tune(&mut self, index: u8) -> Result<(), Error> {
        self.forget_tuning()?;
        // Else the controller would fetch descriptors for the tuning blocks.
        self.write_bus(false);
        self.registers.write(INT_STATUS_EN, INT_STATUS::BRR::SET);
        self.registers.write(AUTOCMD12_ERR_STATUS, AUTOCMD12_ERR_STATUS::EXECUTE_TUNING::SET);
        self.tuned = true;
        let found = self.ask_for_tuning_blocks(index);
        self.enable_status();
        self.write_bus(true);
        if found.is_err() {
            self.reset_lines()?;
            self.forget_tuning()?;
        }
        // Tells the buffer that no tuning block is waiting.
        self.clear_status();
        found
    }

    fn ask_for_tuning_blocks(&self, index: u8) -> Result<(), Error> {
        let bytes = if self.width == BusWidth::Eight { 128 } else { 64 };
        let command = Command::new(index, 0, ResponseKind::Short);
        for _ in 0..TUNING_BLOCKS {
            self.wait_until_ready(true)?;
            self.clear_status();
            self.registers.write(BLK_ATT, BLK_ATT::BLKSIZE.val(bytes) + BLK_ATT::BLKCNT.val(1));
            self.registers.set(CMD_ARG, command.argument);
            self.write_mix(MIX_CTRL::DTDSEL::Read);
            self.registers.write(CMD_XFR_TYP, type_of(command, true));
            let arrived = poll(&self.clock, TUNING, || {
                let status = self.registers.read(INT_STATUS);
                status.is_set(INT_STATUS::BRR).then_some(())
            });
            if arrived.is_err() {
                return Err(Error::Tuning);
            }
            let state = self.registers.read(AUTOCMD12_ERR_STATUS);
            if !state.is_set(AUTOCMD12_ERR_STATUS::EXECUTE_TUNING) {
                let found = state.is_set(AUTOCMD12_ERR_STATUS::SMP_CLK_SEL);
                return if found { Ok(()) } else { Err(Error::Tuning) };
            }
        }
        Err(Error::Tuning)
    }

    fn forget_tuning(&mut self) -> Result<(), Error> {
        self.tuned = false;
        self.registers.set(AUTOCMD12_ERR_STATUS, 0);
        poll(&self.clock, CLOCK_SETTLES, || {
            let state = self.registers.read(AUTOCMD12_ERR_STATUS);
            (!state.is_set(AUTOCMD12_ERR_STATUS::EXECUTE_TUNING)).then_some(())
        })
        .map_err(|_| Error::Controller(Fault::Reset))?;
        self.registers.write(INT_STATUS, INT_STATUS::BRR::SET);
        self.write_mix(Mix::new(0, 0, 0));
        Ok(())
    }

    /// Locks the strobe's delay line to the clock that was set.
    fn lock_strobe(&self) -> Result<(), Error> {
        self.registers.write(STROBE_DLL_CTRL, STROBE_DLL_CTRL::RESET::SET);
        self.registers.set(STROBE_DLL_CTRL, 0);
        self.registers.write(
            STROBE_DLL_CTRL,
            STROBE_DLL_CTRL::ENABLE::SET
                + STROBE_DLL_CTRL::SLV_DLY_TARGET.val(u32::from(self.sampling.strobe_delay))
                + STROBE_DLL_CTRL::SLV_UPDATE_INT.val(STROBE_UPDATE_INTERVAL),
        );
        poll(&self.clock, STROBE, || {
            let status = self.registers.read(STROBE_DLL_STATUS);
            (status.is_set(STROBE_DLL_STATUS::SLV_LOCK)
                && status.is_set(STROBE_DLL_STATUS::REF_LOCK))
            .then_some(())
        })
        .map_err(|_| Error::Strobe)
    }

    /// Resets the command and data circuits, one after the other. Where that does not help,
    /// everything: DMA must not go on into memory that is handed back.
    pub(super) fn reset_lines(&self) -> Result<(), Error> {
        let reset = self.pulse(SYS_CTRL::RSTC::SET).and(self.pulse(SYS_CTRL::RSTD::SET));
        if reset.is_err() {
            self.pulse(SYS_CTRL::RSTA::SET)?;
        }
        self.clear_status();
        reset
    }

    fn pulse(&self, reset: FieldValue<u32, SYS_CTRL::Register>) -> Result<(), Error> {
        self.registers.modify(SYS_CTRL, SYS_CTRL::ALWAYS_ONE.val(ALWAYS_ONE) + reset);
        poll(&self.clock, RESET, || {
            (!self.registers.read(SYS_CTRL).any_matching_bits_set(reset)).then_some(())
        })
        .map_err(|_| Error::Controller(Fault::Reset))
    }

    fn wait_until_ready(&self, with_data: bool) -> Result<(), Error> {
        poll(&self.clock, COMMAND, || {
            let state = self.registers.read(PRES_STATE);
            let ready =
                !(state.is_set(PRES_STATE::CIHB) || with_data && state.is_set(PRES_STATE::CDIHB));
            ready.then_some(())
        })
        .map_err(|_| Error::Controller(Fault::Inhibited))
    }

    fn wait_for(
        &self,
        index: u8,
        deadline: Deadline,
        event: FieldValue<u32, INT_STATUS::Register>,
    ) -> Result<(), Error> {
        poll_until(&self.clock, deadline, || {
            let status = self.registers.read(INT_STATUS);
            match self.error(index, status) {
                Some(error) => Some(Err(error)),
                None => status.matches_all(event).then_some(Ok(())),
            }
        })
        .unwrap_or(Err(Error::Controller(Fault::Silent)))
    }

    fn error(&self, index: u8, status: Status) -> Option<Error> {
        let any = |fields| status.any_matching_bits_set(fields);
        if any(INT_STATUS::CCE::SET + INT_STATUS::CEBE::SET + INT_STATUS::CIE::SET) {
            Some(Error::DamagedResponse(index))
        } else if any(INT_STATUS::CTOE::SET) {
            Some(Error::NoResponse(index))
        } else if any(INT_STATUS::DMAE::SET) {
            let detail = self.registers.read(ADMA_ERR_STATUS).get();
            Some(Error::Controller(Fault::Dma(detail)))
        } else if any(INT_STATUS::DCE::SET + INT_STATUS::DEBE::SET) {
            Some(Error::DamagedData(index))
        } else if any(INT_STATUS::DTOE::SET) {
            Some(Error::NoData(index))
        } else if any(INT_STATUS::AC12E::SET) {
            Some(Error::DamagedResponse(STOP))
        } else {
            None
        }
    }

    fn wait_while_busy(&self, index: u8) -> Result<(), Error> {
        poll(&self.clock, BUSY, || {
            let state = self.registers.read(PRES_STATE);
            state.is_set(PRES_STATE::DLSL0).then_some(())
        })
        .map_err(|_| Error::Busy(index))
    }

    fn prepare(&self, data: Data) {
        let time_out = self.divider.time_out(match data.direction {
            Direction::FromCard => READ_TIME_OUT,
            Direction::ToCard => WRITE_TIME_OUT,
        });
        self.registers
            .modify(SYS_CTRL, SYS_CTRL::ALWAYS_ONE.val(ALWAYS_ONE) + SYS_CTRL::DTOCV.val(time_out));
        self.registers.set(ADMA_SYS_ADDR, data.table);
        self.registers.write(
            BLK_ATT,
            BLK_ATT::BLKSIZE.val(u32::from(data.block_size))
                + BLK_ATT::BLKCNT.val(u32::from(data.blocks)),
        );
    }

    /// What `data` takes on the wires, twice over.
    fn duration(&self, data: Data) -> Duration {
        let bits = u64::from(data.block_size) * u64::from(data.blocks) * 8;
        let clocks = bits / u64::from(self.width.lines());
        Duration::from_micros(2 * clocks * 1_000_000 / u64::from(self.divider.hertz.max(1)))
    }

    fn enable_status(&self) {
        self.registers.write(
            INT_STATUS_EN,
            INT_STATUS::CC::SET
                + INT_STATUS::TC::SET
                + INT_STATUS::CTOE::SET
                + INT_STATUS::CCE::SET
                + INT_STATUS::CEBE::SET
                + INT_STATUS::CIE::SET
                + INT_STATUS::DTOE::SET
                + INT_STATUS::DCE::SET
                + INT_STATUS::DEBE::SET
                + INT_STATUS::AC12E::SET
                + INT_STATUS::DMAE::SET,
        );
    }

    fn clear_status(&self) {
        self.registers.set(INT_STATUS, u32::MAX);
    }

    /// PROT_CTRL: bus width, byte order, DMA.
    fn write_bus(&self, dma: bool) {
        let width = match self.width {
            BusWidth::One => PROT_CTRL::DTW::One,
            BusWidth::Four => PROT_CTRL::DTW::Four,
            BusWidth::Eight => PROT_CTRL::DTW::Eight,
        };
        let dma = if dma { PROT_CTRL::DMASEL::Adma2 } else { PROT_CTRL::DMASEL::None };
        let fields = width + dma + PROT_CTRL::EMODE::Little + PROT_CTRL::BURST_LEN_EN_INCR::SET;
        self.registers.modify(PROT_CTRL, fields);
    }

    /// MIX_CTRL: the mode's bits and those of a command.
    fn write_mix(&self, command: Mix) {
        let bit = |on: bool| u32::from(on);
        let mode = MIX_CTRL::DDR_EN.val(bit(self.timing.is_ddr()))
            + MIX_CTRL::HS400_MODE.val(bit(self.timing.has_strobe()))
            + MIX_CTRL::EN_HS400_MODE.val(bit(self.timing == Timing::Hs400EnhancedStrobe))
            + MIX_CTRL::FBCLK_SEL.val(bit(self.tuned));
        self.registers.set(MIX_CTRL, mode.value | command.value);
    }

    /// Divides the clock anew; it must stand still.
    fn change_clock(&mut self, divider: Divider) -> Result<(), Error> {
        self.divider = divider;
        self.registers.modify(
            SYS_CTRL,
            SYS_CTRL::ALWAYS_ONE.val(ALWAYS_ONE)
                + SYS_CTRL::SDCLKFS.val(divider.sdclkfs)
                + SYS_CTRL::DVS.val(divider.dvs)
                + SYS_CTRL::DTOCV.val(divider.time_out(READ_TIME_OUT)),
        );
        poll(&self.clock, CLOCK_SETTLES, || {
            self.registers.read(PRES_STATE).is_set(PRES_STATE::SDSTB).then_some(())
        })
        .map_err(|_| Error::Controller(Fault::Clock))
    }

    fn stop_clock(&mut self) {
        let clocks = Duration::from_nanos(
            GATING_CLOCKS * 1_000_000_000 / u64::from(self.divider.hertz.max(1)),
        );
        let gates = if self.running { clocks.min(CLOCK_GATES) } else { CLOCK_GATES };
        self.running = false;
        self.write_vend_spec(false);
        // Not every member of the family tells; by then the clock stands still anyway.
        let _ = poll(&self.clock, gates, || {
            self.registers.read(PRES_STATE).is_set(PRES_STATE::SDOFF).then_some(())
        });
    }

    fn start_clock(&mut self) {
        self.running = true;
        self.write_vend_spec(true);
    }

    /// VEND_SPEC: voltage, and the card clock running all the time or not at all.
    fn write_vend_spec(&self, clock: bool) {
        let fields = VEND_SPEC::VSELECT.val(u32::from(self.low_voltage))
            + VEND_SPEC::FRC_SDCLK_ON.val(u32::from(clock))
            + VEND_SPEC::CKEN.val(u32::from(clock));
        self.registers.set(VEND_SPEC, fields.modify(VEND_SPEC_INIT));
    }
}

/// CMD12.
const STOP: u8 = 12;

/// CMD_XFR_TYP of a command.
fn type_of(command: Command, data: bool) -> FieldValue<u32, CMD_XFR_TYP::Register> {
    let (response, crc, index) = match command.response {
        ResponseKind::None => (CMD_XFR_TYP::RSPTYP::None, false, false),
        ResponseKind::Short => (CMD_XFR_TYP::RSPTYP::Short, true, true),
        ResponseKind::ShortBusy => (CMD_XFR_TYP::RSPTYP::ShortBusy, true, true),
        ResponseKind::Long => (CMD_XFR_TYP::RSPTYP::Long, true, false),
        ResponseKind::Unprotected => (CMD_XFR_TYP::RSPTYP::Short, false, false),
    };
    let kind = if command.index == STOP {
        CMD_XFR_TYP::CMDTYP::Abort
    } else {
        CMD_XFR_TYP::CMDTYP::Normal
    };
    CMD_XFR_TYP::CMDINX.val(u32::from(command.index))
        + kind
        + response
        + CMD_XFR_TYP::CCCEN.val(u32::from(crc))
        + CMD_XFR_TYP::CICEN.val(u32::from(index))
        + CMD_XFR_TYP::DPSEL.val(u32::from(data))
}

/// MIX_CTRL of a transfer.
fn mix_of(command: Command, data: Data) -> Mix {
    // Also with one block: the card counts, or waits for CMD12.
    let several = matches!(command.index, 18 | 25);
    let direction = match data.direction {
        Direction::FromCard => MIX_CTRL::DTDSEL::Read,
        Direction::ToCard => MIX_CTRL::DTDSEL::Write,
    };
    MIX_CTRL::DMAEN::SET
        + MIX_CTRL::BCEN::SET
        + direction
        + MIX_CTRL::MSBSEL.val(u32::from(several))
        + MIX_CTRL::AC12EN.val(u32::from(data.stop))
}
