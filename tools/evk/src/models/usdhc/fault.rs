//! What goes wrong on the wires, at one command.

/// A fault at one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The card does not get the command.
    CommandLost,
    /// The card acts, but its response is not seen.
    ResponseLost,
    /// The response arrives with a wrong CRC.
    ResponseCrc,
    /// The response arrives with a wrong end bit.
    ResponseEndBit,
    /// The response is of another command.
    ResponseIndex,
    /// Block number n does not come.
    DataTimeout(u32),
    /// Block number n arrives with a wrong CRC.
    DataCrc(u32),
    /// Block number n arrives with a wrong end bit.
    DataEndBit(u32),
    /// The controller's own CMD12 gets no answer.
    AutoStop,
    /// The bus master fails at block number n.
    Dma(u32),
    /// The card never stops to be busy, until it loses power or is reset.
    StuckBusy,
    /// The card is pulled; the slot's switch says so.
    Removal,
    /// The card is pulled, or dies; the slot's switch does not notice.
    Death,
    /// A mode switch is refused: SWITCH_ERROR, or function 15.
    SwitchError,
}
