//! The uSDHC register block: typed offsets over a [`Bus`].
//!
//! Source: i.MX 8M Plus reference manual, chapter 10.3 (uSDHC memory map).

use core::marker::PhantomData;

use tock_registers::{LocalRegisterCopy, RegisterLongName, fields::FieldValue, register_bitfields};

use crate::mmio::Bus;

register_bitfields! [u32,
    pub(super) BLK_ATT [
        BLKSIZE OFFSET(0) NUMBITS(13) [],
        BLKCNT OFFSET(16) NUMBITS(16) []
    ],
    pub(super) CMD_XFR_TYP [
        RSPTYP OFFSET(16) NUMBITS(2) [None = 0, Long = 1, Short = 2, ShortBusy = 3],
        CCCEN OFFSET(19) NUMBITS(1) [],
        CICEN OFFSET(20) NUMBITS(1) [],
        DPSEL OFFSET(21) NUMBITS(1) [],
        CMDTYP OFFSET(22) NUMBITS(2) [Normal = 0, Abort = 3],
        CMDINX OFFSET(24) NUMBITS(6) []
    ],
    pub(super) PRES_STATE [
        CIHB OFFSET(0) NUMBITS(1) [],
        CDIHB OFFSET(1) NUMBITS(1) [],
        SDSTB OFFSET(3) NUMBITS(1) [],
        SDOFF OFFSET(7) NUMBITS(1) [],
        WPSPL OFFSET(19) NUMBITS(1) [],
        CLSL OFFSET(23) NUMBITS(1) [],
        DLSL0 OFFSET(24) NUMBITS(1) [],
        DLSL_4BIT OFFSET(24) NUMBITS(4) []
    ],
    pub(super) PROT_CTRL [
        DTW OFFSET(1) NUMBITS(2) [One = 0, Four = 1, Eight = 2],
        EMODE OFFSET(4) NUMBITS(2) [Little = 2],
        DMASEL OFFSET(8) NUMBITS(2) [None = 0, Adma2 = 2],
        BURST_LEN_EN_INCR OFFSET(27) NUMBITS(1) []
    ],
    pub(super) SYS_CTRL [
        // Reserved; reads as ones on silicon, and has to stay so.
        ALWAYS_ONE OFFSET(0) NUMBITS(4) [],
        DVS OFFSET(4) NUMBITS(4) [],
        SDCLKFS OFFSET(8) NUMBITS(8) [],
        DTOCV OFFSET(16) NUMBITS(4) [],
        IPP_RST_N OFFSET(23) NUMBITS(1) [],
        RSTA OFFSET(24) NUMBITS(1) [],
        RSTC OFFSET(25) NUMBITS(1) [],
        RSTD OFFSET(26) NUMBITS(1) [],
        RSTT OFFSET(28) NUMBITS(1) []
    ],
    pub(super) INT_STATUS [
        CC OFFSET(0) NUMBITS(1) [],
        TC OFFSET(1) NUMBITS(1) [],
        BRR OFFSET(5) NUMBITS(1) [],
        CTOE OFFSET(16) NUMBITS(1) [],
        CCE OFFSET(17) NUMBITS(1) [],
        CEBE OFFSET(18) NUMBITS(1) [],
        CIE OFFSET(19) NUMBITS(1) [],
        DTOE OFFSET(20) NUMBITS(1) [],
        DCE OFFSET(21) NUMBITS(1) [],
        DEBE OFFSET(22) NUMBITS(1) [],
        AC12E OFFSET(24) NUMBITS(1) [],
        DMAE OFFSET(28) NUMBITS(1) []
    ],
    pub(super) AUTOCMD12_ERR_STATUS [
        EXECUTE_TUNING OFFSET(22) NUMBITS(1) [],
        SMP_CLK_SEL OFFSET(23) NUMBITS(1) []
    ],
    pub(super) WTMK_LVL [
        RD_WML OFFSET(0) NUMBITS(8) [],
        RD_BRST_LEN OFFSET(8) NUMBITS(5) [],
        WR_WML OFFSET(16) NUMBITS(8) [],
        WR_BRST_LEN OFFSET(24) NUMBITS(5) []
    ],
    pub(super) MIX_CTRL [
        DMAEN OFFSET(0) NUMBITS(1) [],
        BCEN OFFSET(1) NUMBITS(1) [],
        AC12EN OFFSET(2) NUMBITS(1) [],
        DDR_EN OFFSET(3) NUMBITS(1) [],
        DTDSEL OFFSET(4) NUMBITS(1) [Write = 0, Read = 1],
        MSBSEL OFFSET(5) NUMBITS(1) [],
        AUTO_TUNE_EN OFFSET(24) NUMBITS(1) [],
        FBCLK_SEL OFFSET(25) NUMBITS(1) [],
        HS400_MODE OFFSET(26) NUMBITS(1) [],
        EN_HS400_MODE OFFSET(27) NUMBITS(1) []
    ],
    pub(super) STROBE_DLL_CTRL [
        ENABLE OFFSET(0) NUMBITS(1) [],
        RESET OFFSET(1) NUMBITS(1) [],
        SLV_DLY_TARGET OFFSET(3) NUMBITS(4) [],
        SLV_UPDATE_INT OFFSET(20) NUMBITS(8) []
    ],
    pub(super) STROBE_DLL_STATUS [
        SLV_LOCK OFFSET(0) NUMBITS(1) [],
        REF_LOCK OFFSET(1) NUMBITS(1) []
    ],
    pub(super) VEND_SPEC [
        VSELECT OFFSET(1) NUMBITS(1) [],
        FRC_SDCLK_ON OFFSET(8) NUMBITS(1) [],
        CKEN OFFSET(14) NUMBITS(1) []
    ],
    pub(super) TUNING_CTRL [
        START_TAP OFFSET(0) NUMBITS(7) [],
        DISABLE_CMD_CRC_CHECK OFFSET(7) NUMBITS(1) [],
        STEP OFFSET(16) NUMBITS(3) [],
        STD_TUNING_EN OFFSET(24) NUMBITS(1) []
    ]
];

/// A register without fields worth a name.
pub(super) type Plain = ();

/// A register's place in the block, and its fields.
pub(super) struct Register<R>(u32, PhantomData<R>);

impl<R> Clone for Register<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Register<R> {}

const fn at<R>(offset: u32) -> Register<R> {
    Register(offset, PhantomData)
}

pub(super) const BLK_ATT: Register<BLK_ATT::Register> = at(0x04);
pub(super) const CMD_ARG: Register<Plain> = at(0x08);
pub(super) const CMD_XFR_TYP: Register<CMD_XFR_TYP::Register> = at(0x0c);
pub(super) const CMD_RSP: [Register<Plain>; 4] = [at(0x10), at(0x14), at(0x18), at(0x1c)];
pub(super) const PRES_STATE: Register<PRES_STATE::Register> = at(0x24);
pub(super) const PROT_CTRL: Register<PROT_CTRL::Register> = at(0x28);
pub(super) const SYS_CTRL: Register<SYS_CTRL::Register> = at(0x2c);
pub(super) const INT_STATUS: Register<INT_STATUS::Register> = at(0x30);
pub(super) const INT_STATUS_EN: Register<INT_STATUS::Register> = at(0x34);
pub(super) const INT_SIGNAL_EN: Register<INT_STATUS::Register> = at(0x38);
pub(super) const AUTOCMD12_ERR_STATUS: Register<AUTOCMD12_ERR_STATUS::Register> = at(0x3c);
pub(super) const WTMK_LVL: Register<WTMK_LVL::Register> = at(0x44);
pub(super) const MIX_CTRL: Register<MIX_CTRL::Register> = at(0x48);
pub(super) const ADMA_ERR_STATUS: Register<Plain> = at(0x54);
pub(super) const ADMA_SYS_ADDR: Register<Plain> = at(0x58);
pub(super) const DLL_CTRL: Register<Plain> = at(0x60);
pub(super) const CLK_TUNE_CTRL_STATUS: Register<Plain> = at(0x68);
pub(super) const STROBE_DLL_CTRL: Register<STROBE_DLL_CTRL::Register> = at(0x70);
pub(super) const STROBE_DLL_STATUS: Register<STROBE_DLL_STATUS::Register> = at(0x74);
pub(super) const VEND_SPEC: Register<VEND_SPEC::Register> = at(0xc0);
pub(super) const MMC_BOOT: Register<Plain> = at(0xc4);
pub(super) const TUNING_CTRL: Register<TUNING_CTRL::Register> = at(0xcc);

/// One controller's registers.
#[derive(Debug)]
pub(super) struct Block<B> {
    bus: B,
    base: u32,
}

impl<B: Bus> Block<B> {
    pub(super) fn new(bus: B, base: u32) -> Self {
        Self { bus, base }
    }

    pub(super) fn bus(&self) -> &B {
        &self.bus
    }

    pub(super) fn read<R: RegisterLongName>(
        &self,
        register: Register<R>,
    ) -> LocalRegisterCopy<u32, R> {
        LocalRegisterCopy::new(self.bus.read32(self.base + register.0))
    }

    /// Writes `fields`, and 0 to all others.
    pub(super) fn write<R: RegisterLongName>(
        &self,
        register: Register<R>,
        fields: FieldValue<u32, R>,
    ) {
        self.set(register, fields.value);
    }

    /// Writes `fields` and leaves all others as they read.
    pub(super) fn modify<R: RegisterLongName>(
        &self,
        register: Register<R>,
        fields: FieldValue<u32, R>,
    ) {
        self.set(register, fields.modify(self.read(register).get()));
    }

    /// Writes all 32 bits.
    pub(super) fn set<R: RegisterLongName>(&self, register: Register<R>, value: u32) {
        self.bus.write32(self.base + register.0, value);
    }
}
