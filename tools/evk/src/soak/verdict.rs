//! Whether a boot kept the promise.

use anyhow::{Context as _, Result, ensure};

use super::{
    bench::{Bench, Medium, Reference},
    boot::{End, Ended},
    fault::Fault,
};
use crate::{nixos::Generation, stub};

/// What came of a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The default generation runs, intact.
    Default,
    /// Another generation runs, intact, and it was said why.
    Another(u32),
    /// Damaged files were booted where no checksum tells.
    Unnoticed(String),
    /// The prompt answers, below this error.
    Rescue(String),
    /// The promise was broken.
    Broken(String),
}

impl Verdict {
    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }
}

/// Holds what was seen of a boot with `faults` against the promise.
pub fn judge(bench: &Bench, medium: Medium, faults: &[Fault], ended: &Ended) -> Verdict {
    let damages = faults.iter().any(Fault::damages_files);
    let by_hand = faults.iter().any(|fault| matches!(fault, Fault::Babble(..)));
    // A card that is put in while the clock runs for another one meets it too early.
    let swapped = faults.iter().any(|fault| matches!(fault, Fault::Swapped(_)));
    if let Some(rule) = ended.broken_rules.first().filter(|_| !swapped) {
        return Verdict::Broken(format!("the card's rules: {rule}"));
    }
    if ended.card_changed {
        return Verdict::Broken(
            "something on the card besides its state record has changed".into(),
        );
    }
    let code = first_code(bench, medium, &ended.text);
    match &ended.end {
        End::Kernel(report) => match booted(bench, medium, report, by_hand) {
            Ok(42) => Verdict::Default,
            Ok(number) if by_hand || code.is_some() => Verdict::Another(number),
            Ok(number) => {
                Verdict::Broken(format!("generation {number} instead of 42, and nobody said why"))
            }
            Err(error) if damages => Verdict::Unnoticed(format!("{error:#}")),
            Err(error) => Verdict::Broken(format!("{error:#}")),
        },
        End::Prompt => match code {
            Some(code) => Verdict::Rescue(code),
            None if by_hand => Verdict::Rescue("by hand".into()),
            None => Verdict::Broken("a prompt, and no error".into()),
        },
        // What its first instructions run into are still the loader's exception vectors.
        End::Gave(line) if damages && was_entered(&ended.text) => {
            Verdict::Unnoticed(format!("the kernel fails: {line}"))
        }
        End::Gave(line) => Verdict::Broken(line.clone()),
        End::Reset => Verdict::Broken("the board was reset".into()),
        End::Hang if damages && was_entered(&ended.text) => {
            Verdict::Unnoticed("the kernel says nothing".into())
        }
        End::Hang => {
            Verdict::Broken(format!("neither a kernel nor a prompt after {:?}", ended.took))
        }
        End::Emulator(how) => Verdict::Broken(format!("the emulator ended: {how}")),
    }
}

/// What a boot without faults did.
pub(super) fn reference(bench: &Bench, medium: Medium, ended: &Ended) -> Result<Reference> {
    let End::Kernel(report) = &ended.end else { anyhow::bail!("it ended with {:?}", ended.end) };
    let number = files(bench, medium, report, false)?;
    ensure!(number == 42, "generation {number} booted");
    ensure!(ended.broken_rules.is_empty(), "{:?}", ended.broken_rules);
    Ok(Reference {
        characters: ended.text.find(stub::BEGIN).unwrap_or_default(),
        codes: codes(&ended.text).map(str::to_owned).collect(),
        tree_sum: report.number("device tree sum")?,
    })
}

/// The number of the generation that runs, with all that belongs to it.
fn booted(bench: &Bench, medium: Medium, report: &stub::Report, by_hand: bool) -> Result<u32> {
    let number = files(bench, medium, report, by_hand)?;
    let reference = bench.reference(medium).context("no reference")?;
    let sum = report.number("device tree sum")?;
    ensure!(sum == reference.tree_sum, "the device tree is not that of a sound boot");
    Ok(number)
}

fn files(bench: &Bench, medium: Medium, report: &stub::Report, by_hand: bool) -> Result<u32> {
    let bootargs = report.text("/chosen bootargs")?;
    let is_of = |generation: &&Generation| bootargs.contains(&generation.toplevel());
    let generation = bench.system(medium).generations.iter().find(is_of);
    let generation = generation.with_context(|| format!("no generation has {bootargs:?}"))?;
    let number = generation.number;
    ensure!(
        bootargs.starts_with(&generation.command_line()) || by_hand,
        "command line {bootargs:?}"
    );
    ensure!(report.text("/firn-test generation")? == number.to_string(), "another's device tree");
    let initrd = generation.initrd.read()?.context("no initrd")?;
    ensure!(report.number("initrd sum")? == stub::sum(&initrd), "the initrd is damaged");
    let kernel = report.number("kernel sum")?;
    ensure!(kernel == bench.kernel_sum(generation)?, "the kernel is damaged");
    Ok(number)
}

fn was_entered(text: &str) -> bool {
    text.contains("starting the kernel")
}

/// The codes on the serial line.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split("[E").skip(1).filter_map(|rest| rest.split_once(']')).map(|(code, _)| code)
}

/// The first error that a sound boot does not have, or not as often.
fn first_code(bench: &Bench, medium: Medium, text: &str) -> Option<String> {
    let usual = bench.reference(medium).map(|reference| reference.codes.as_slice());
    let mut usual = usual.unwrap_or_default().to_vec();
    let is_new = |code: &&str| match usual.iter().position(|usual| usual == code) {
        Some(at) => {
            usual.swap_remove(at);
            false
        }
        None => true,
    };
    codes(text).find(is_new).map(|code| format!("E{code}"))
}
