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
    /// Block number n does not come; a card that takes blocks does not get it.
    DataTimeout(u32),
    /// Block number n arrives with a wrong CRC; a card that takes blocks refuses it.
    DataCrc(u32),
    /// Block number n arrives with a wrong end bit; a card that takes blocks has got it, but its
    /// answer is damaged.
    DataEndBit(u32),
    /// The first block comes so many milliseconds late; too late for the controller's time-out, it
    /// does not come at all.
    Slow(u32),
    /// The controller's own CMD12 gets no answer.
    AutoStop,
    /// The bus master fails at block number n.
    Dma(u32),
    /// The card never stops to be busy, until it loses power or is reset.
    StuckBusy,
    /// The power goes when the card has kept n bytes of what it takes; the slot's switch does not
    /// notice.
    PowerCut(u32),
    /// The card is pulled; the slot's switch says so.
    Removal,
    /// The card is pulled, or dies; the slot's switch does not notice.
    Death,
    /// A mode switch is refused: SWITCH_ERROR, or function 15.
    SwitchError,
}
