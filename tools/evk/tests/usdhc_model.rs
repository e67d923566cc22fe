//! The uSDHC model notices what a driver must not do, poked by hand.

use std::time::Duration;

use evk::models::usdhc::{
    BusError, Card, Controller, Emmc, EmmcKind, Image, Memory, Pattern, Rules, SdCard, SdKind,
};

const BLK_ATT: u32 = 0x04;
const CMD_ARG: u32 = 0x08;
const CMD_XFR_TYP: u32 = 0x0c;
const CMD_RSP0: u32 = 0x10;
const PROT_CTRL: u32 = 0x28;
const SYS_CTRL: u32 = 0x2c;
const INT_STATUS: u32 = 0x30;
const INT_STATUS_EN: u32 = 0x34;
const MIX_CTRL: u32 = 0x48;
const ADMA_SYS_ADDR: u32 = 0x58;
const VEND_SPEC: u32 = 0xc0;

const CLOCK_ON: u32 = 0x2000_7909;
/// 390 kHz, 25 MHz, 50 MHz from 400 MHz.
const SLOW: u32 = 0x008f_20ff;
const FAST: u32 = 0x008f_00ff;
const FASTER: u32 = 0x008f_007f;

/// Response types of CMD_XFR_TYP, with their checks.
const NONE: u32 = 0;
const LONG: u32 = 0x0009;
const SHORT: u32 = 0x001a;
const BUSY: u32 = 0x001b;
const UNPROTECTED: u32 = 0x0002;
const DATA: u32 = 0x0020;

/// Sixteen bytes of memory for descriptors at 0x1000, and a block at 0x2000.
struct Pages {
    table: [u8; 16],
    block: [u8; 512],
}

impl Memory for Pages {
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), BusError> {
        let (page, start) = match address {
            ..0x2000 => (&self.table[..], 0x1000),
            _ => (&self.block[..], 0x2000),
        };
        let from = address.checked_sub(start).ok_or(BusError)? as usize;
        bytes.copy_from_slice(page.get(from..from + bytes.len()).ok_or(BusError)?);
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusError> {
        let from = address.checked_sub(0x2000).ok_or(BusError)? as usize;
        self.block.get_mut(from..from + bytes.len()).ok_or(BusError)?.copy_from_slice(bytes);
        Ok(())
    }
}

struct Hand {
    controller: Controller,
    rules: Rules,
    now: Duration,
    pages: Pages,
}

impl Hand {
    fn new(card: impl Card + 'static) -> Self {
        let rules = Rules::default();
        let mut controller = Controller::new(Some(Box::new(card)), rules.clone());
        controller.set_root_hertz(400_000_000);
        let pages = Pages { table: [0; 16], block: [0; 512] };
        let mut hand = Self { controller, rules, now: Duration::from_secs(1), pages };
        hand.write(INT_STATUS_EN, u32::MAX);
        hand.set_clock(SLOW);
        hand
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.now += Duration::from_micros(1);
        self.controller.write(offset, value, self.now, &mut self.pages);
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.controller.read(offset, self.now)
    }

    fn set_clock(&mut self, divider: u32) {
        self.write(VEND_SPEC, CLOCK_ON & !(1 << 8));
        self.write(SYS_CTRL, divider);
        self.write(VEND_SPEC, CLOCK_ON);
        self.now += Duration::from_millis(1);
    }

    /// Sends a command, waits, and returns status and response.
    fn command(&mut self, index: u32, argument: u32, kind: u32) -> (u32, u32) {
        self.write(INT_STATUS, u32::MAX);
        self.write(CMD_ARG, argument);
        self.write(CMD_XFR_TYP, index << 24 | kind << 16);
        self.now += Duration::from_secs(2);
        (self.read(INT_STATUS), self.read(CMD_RSP0))
    }

    /// An SD card in transfer state, read as far as a block can be.
    fn with_selected_card() -> Self {
        let mut hand = Self::new(SdCard::new(SdKind::HighCapacity, 1024));
        hand.command(0, 0, NONE);
        assert_eq!(hand.command(8, 0x1aa, SHORT), (1, 0x1aa));
        for _ in 0..2 {
            hand.command(55, 0, SHORT);
            hand.command(41, 0x40ff_8000, UNPROTECTED);
        }
        hand.command(2, 0, LONG);
        let address = hand.command(3, 0, SHORT).1 & 0xffff_0000;
        hand.set_clock(FAST);
        hand.command(7, address, BUSY);
        hand
    }

    /// An eMMC in transfer state.
    fn with_selected_emmc(card: Emmc) -> Self {
        let mut hand = Self::new(card);
        hand.command(0, 0, NONE);
        for _ in 0..2 {
            hand.command(1, 0x40ff_8080, UNPROTECTED);
        }
        hand.command(2, 0, LONG);
        hand.command(3, 1 << 16, SHORT);
        hand.command(7, 1 << 16, BUSY);
        hand
    }

    /// Reads block 0 by a table of one descriptor.
    fn read_block(&mut self, attributes: u16, length: u16, address: u32) -> u32 {
        self.describe(attributes, length, address);
        self.write(MIX_CTRL, 0x13);
        self.command(17, 0, SHORT | DATA).0
    }

    /// Block 0, as it is read.
    fn block(&mut self) -> [u8; 512] {
        assert_eq!(self.read_block(0x23, 512, 0x2000), 3);
        self.pages.block
    }

    /// Writes block 0, the answer to which is the card's status afterwards.
    fn write_block(&mut self, bytes: [u8; 512]) -> u32 {
        self.pages.block = bytes;
        self.describe(0x23, 512, 0x2000);
        self.write(MIX_CTRL, 0x03);
        self.command(24, 0, SHORT | DATA);
        self.command(13, 1 << 16, SHORT).1
    }

    fn describe(&mut self, attributes: u16, length: u16, address: u32) {
        self.pages.table[..2].copy_from_slice(&attributes.to_le_bytes());
        self.pages.table[2..4].copy_from_slice(&length.to_le_bytes());
        self.pages.table[4..8].copy_from_slice(&address.to_le_bytes());
        self.write(PROT_CTRL, 0x0880_0220);
        self.write(ADMA_SYS_ADDR, 0x1000);
        self.write(BLK_ATT, 1 << 16 | 512);
    }

    #[track_caller]
    fn assert_broken(&self, part: &str) {
        let list = self.rules.list();
        assert!(list.iter().any(|rule| rule.contains(part)), "{list:?}");
    }
}

#[test]
fn a_read_that_keeps_all_rules_breaks_none() {
    let mut hand = Hand::with_selected_card();
    assert_eq!(hand.read_block(0x23, 512, 0x2000), 3);
    assert_eq!(hand.pages.block, Pattern::block(0));
    assert_eq!(hand.rules.list(), [""; 0]);
}

#[test]
fn identification_at_full_clock_is_noticed() {
    let mut hand = Hand::new(SdCard::new(SdKind::HighCapacity, 1024));
    hand.set_clock(FAST);
    hand.command(0, 0, NONE);
    hand.assert_broken("25000000 Hz in state Idle");
}

#[test]
fn command_before_74_clocks_is_noticed() {
    let mut hand = Hand::new(SdCard::new(SdKind::HighCapacity, 1024));
    hand.write(VEND_SPEC, CLOCK_ON & !(1 << 8));
    hand.write(VEND_SPEC, CLOCK_ON);
    hand.command(0, 0, NONE);
    hand.assert_broken("before 74 clocks");
}

#[test]
fn clock_above_the_cards_mode_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.set_clock(FASTER);
    hand.read_block(0x23, 512, 0x2000);
    hand.assert_broken("50000000 Hz in state Transfer");
}

#[test]
fn clock_divided_anew_while_it_runs_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.write(SYS_CTRL, FASTER);
    hand.assert_broken("while it runs");
}

#[test]
fn read_before_the_card_is_selected_is_noticed() {
    let mut hand = Hand::new(SdCard::new(SdKind::HighCapacity, 1024));
    hand.command(0, 0, NONE);
    hand.read_block(0x23, 512, 0x2000);
    hand.assert_broken("CMD17 in state Idle");
}

#[test]
fn other_number_of_lines_than_the_card_drives_is_noticed_and_damages_data() {
    let mut hand = Hand::with_selected_card();
    hand.read_block(0x23, 512, 0x2000);
    hand.write(PROT_CTRL, 0x0880_0222);
    hand.write(BLK_ATT, 1 << 16 | 512);
    let (status, _) = hand.command(17, 0, SHORT | DATA);
    assert_ne!(status & 1 << 21, 0, "{status:#x}");
    hand.assert_broken("4 lines clocked, 1 driven");
}

#[test]
fn descriptor_of_64_kib_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.read_block(0x23, 0, 0x2000);
    hand.assert_broken("length 0");
}

#[test]
fn misaligned_descriptor_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.read_block(0x23, 512, 0x2002);
    hand.assert_broken("at 0x2002");
}

#[test]
fn end_on_a_descriptor_without_data_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.read_block(0x03, 512, 0x2000);
    hand.assert_broken("moves nothing");
}

#[test]
fn memory_that_is_not_there_is_a_dma_error() {
    let mut hand = Hand::with_selected_card();
    let status = hand.read_block(0x23, 512, 0x9000);
    assert_ne!(status & 1 << 28, 0, "{status:#x}");
}

#[test]
fn old_status_under_a_new_command_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.write(CMD_ARG, 0);
    hand.write(CMD_XFR_TYP, 13 << 24 | SHORT << 16);
    hand.assert_broken("over old status");
}

#[test]
fn unchecked_response_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.command(13, 0xaaaa_0000, UNPROTECTED);
    hand.assert_broken("CMD13: response checked: false");
}

#[test]
fn command_without_an_answer_times_out() {
    let mut hand = Hand::new(Emmc::new(EmmcKind::Hs200, 1 << 20));
    hand.command(0, 0, NONE);
    let (status, _) = hand.command(55, 0, SHORT);
    assert_eq!(status, 1 << 16);
}

#[test]
fn hs400_out_of_the_wrong_state_is_a_switch_error() {
    let mut hand = Hand::with_selected_emmc(Emmc::new(EmmcKind::EnhancedStrobe, 1 << 20));
    hand.command(6, 0x03b9_0300, BUSY);
    let (_, answer) = hand.command(13, 1 << 16, SHORT);
    assert_ne!(answer & 1 << 7, 0, "{answer:#x}");
}

#[test]
fn what_is_written_is_read_back_and_each_partition_of_an_emmc_is_another_place() {
    let card = Emmc::new(EmmcKind::EnhancedStrobe, 1 << 20)
        .with_storage(Image::default())
        .with_boot(0, Image::default())
        .with_boot(1, Image::default());
    let mut hand = Hand::with_selected_emmc(card);
    // PARTITION_CONFIG selects the user area and the boot partitions by 0, 1 and 2.
    for partition in 0..3u8 {
        hand.command(6, 0x03b3_0000 | u32::from(partition) << 8, BUSY);
        assert_eq!(hand.block(), [0; 512]);
        let bytes = [partition + 1; 512];
        assert_eq!(hand.write_block(bytes), 0x900, "ready, in transfer state");
        hand.pages.block = [0; 512];
        assert_eq!(hand.block(), bytes);
    }
    hand.command(6, 0x03b3_0000, BUSY);
    assert_eq!(hand.block(), [1; 512]);
    assert_eq!(hand.rules.list(), [""; 0]);
}

#[test]
fn a_card_that_cannot_keep_what_is_written_says_so() {
    let mut hand = Hand::with_selected_emmc(Emmc::new(EmmcKind::EnhancedStrobe, 1 << 20));
    let status = hand.write_block([7; 512]);
    assert_ne!(status & 1 << 26, 0, "{status:#x}");
}

#[test]
fn a_write_with_the_direction_of_a_read_is_noticed() {
    let mut hand = Hand::with_selected_card();
    hand.describe(0x23, 512, 0x2000);
    hand.write(MIX_CTRL, 0x13);
    hand.command(24, 0, SHORT | DATA);
    hand.assert_broken("CMD24 with data in the wrong direction");
}
