//! Whether a boot kept the promise.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use super::{
    boot::{End, Ended},
    fault::Fault,
    files::Unchecked,
};
use crate::stub;

/// The generation that boots unless something is wrong.
const DEFAULT: u32 = 42;

/// What came of a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The default generation runs, intact.
    Default,
    /// Another generation runs, intact, and it was said why.
    Another(u32),
    /// What runs is damaged where no checksum tells, and by these very faults.
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

/// A generation as the stub kernel sees it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) number: u32,
    pub(super) toplevel: String,
    pub(super) command_line: String,
    pub(super) kernel_sum: u64,
    pub(super) initrd_sum: u64,
}

/// What is on a card, and what a boot from it without a fault does.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    files: Vec<Files>,
    /// How many there are in front of what the kernel says.
    pub(super) characters: usize,
    tree_sum: u64,
    /// Codes of what the emulated board lacks, whatever is booted.
    codes: Vec<String>,
}

/// What is wrong with what runs.
struct Wrong {
    with: Unchecked,
    text: String,
}

impl Reference {
    /// What `ended` has shown, a boot of a card with `files`.
    ///
    /// # Errors
    /// It was not a sound one.
    pub(super) fn new(files: Vec<Files>, ended: &Ended) -> Result<Self> {
        let End::Kernel(report) = &ended.end else { bail!("it ended with {:?}", ended.end) };
        ensure!(ended.broken_rules.is_empty(), "{:?}", ended.broken_rules);
        let reference = Self {
            files,
            characters: ended.text.find(stub::BEGIN).unwrap_or_default(),
            codes: codes(&ended.text).map(str::to_owned).collect(),
            tree_sum: report.number("device tree sum")?,
        };
        let verdict = reference.judge(&[], ended);
        ensure!(verdict == Verdict::Default, "{verdict:?}");
        Ok(reference)
    }

    /// Holds what was seen of a boot with `faults` against the promise.
    pub(super) fn judge(&self, faults: &[Fault], ended: &Ended) -> Verdict {
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
        let code = self.new_codes(&ended.text).into_iter().next();
        match &ended.end {
            End::Kernel(report) => match self.booted(report, by_hand) {
                Ok(DEFAULT) => Verdict::Default,
                Ok(number) if by_hand || code.is_some() => Verdict::Another(number),
                Ok(number) => Verdict::Broken(format!(
                    "generation {number} instead of {DEFAULT}, and nobody said why"
                )),
                Err(Wrong { with, text }) if explains(&ended.altered, with) => {
                    Verdict::Unnoticed(text)
                }
                Err(Wrong { text, .. }) => Verdict::Broken(text),
            },
            End::Prompt => match code {
                Some(code) => Verdict::Rescue(code),
                None if by_hand => Verdict::Rescue("by hand".into()),
                None => Verdict::Broken("a prompt, and no error".into()),
            },
            // What its first instructions run into are still the loader's exception vectors.
            End::Gave(line) if runs_damaged(ended) => {
                Verdict::Unnoticed(format!("the kernel fails: {line}"))
            }
            End::Gave(line) => Verdict::Broken(line.clone()),
            End::Reset => Verdict::Broken("the board was reset".into()),
            End::Hang if runs_damaged(ended) => {
                Verdict::Unnoticed("the kernel says nothing".into())
            }
            End::Hang => {
                Verdict::Broken(format!("neither a kernel nor a prompt after {:?}", ended.took))
            }
            // It may switch the board off too early, or never.
            End::Emulator(how) if runs_damaged(ended) => {
                Verdict::Unnoticed(format!("the kernel fails: {how}"))
            }
            End::Emulator(how) => Verdict::Broken(format!("the emulator ended: {how}")),
        }
    }

    /// The number of the generation that runs, with all that belongs to it.
    fn booted(&self, report: &stub::Report, by_hand: bool) -> Result<u32, Wrong> {
        let bootargs = report.text("/chosen bootargs").unwrap_or_default();
        let files = self.files.iter().find(|files| bootargs.contains(&files.toplevel));
        let Some(files) = files else {
            let text = format!("no generation has {bootargs:?}");
            return Err(Wrong { with: Unchecked::Configuration, text });
        };
        let Files { number, command_line, kernel_sum, initrd_sum, .. } = files;
        let says = |name: &str, sum: u64| report.number(name).is_ok_and(|said| said == sum);
        let mark = report.text("/firn-test generation").unwrap_or_default();
        let checks = [
            (
                by_hand || bootargs.starts_with(command_line),
                Unchecked::Configuration,
                "another command line",
            ),
            (
                mark == number.to_string(),
                Unchecked::DeviceTree(*number),
                "another's device tree, or none",
            ),
            (
                says("device tree sum", self.tree_sum),
                Unchecked::DeviceTree(*number),
                "the device tree is not that of a sound boot",
            ),
            (
                says("initrd sum", *initrd_sum),
                Unchecked::Initrd(*number),
                "the initrd is damaged, or missing",
            ),
            (says("kernel sum", *kernel_sum), Unchecked::Kernel(*number), "the kernel is damaged"),
        ];
        match checks.into_iter().find(|(is_right, ..)| !is_right) {
            Some((_, with, text)) => {
                Err(Wrong { with, text: format!("generation {number}: {text}") })
            }
            None => Ok(*number),
        }
    }

    /// The errors that a sound boot does not have, or not as often.
    pub(super) fn new_codes(&self, text: &str) -> Vec<String> {
        let mut usual = self.codes.clone();
        let is_new = |code: &&str| match usual.iter().position(|usual| usual == code) {
            Some(at) => {
                usual.swap_remove(at);
                false
            }
            None => true,
        };
        codes(text).filter(is_new).map(|code| format!("E{code}")).collect()
    }
}

/// Whether what faults have altered is why something is wrong `with` what runs: the thing itself, what
/// names it, or the file system's own tables that say where it is.
fn explains(altered: &BTreeSet<Unchecked>, with: Unchecked) -> bool {
    [with, Unchecked::Configuration, Unchecked::Fat].iter().any(|may| altered.contains(may))
}

/// Whether a kernel was entered that is damaged, or has a device tree that is.
fn runs_damaged(ended: &Ended) -> bool {
    let of_a_kernel = |altered: &Unchecked| {
        matches!(altered, Unchecked::Kernel(_) | Unchecked::DeviceTree(_) | Unchecked::Fat)
    };
    ended.text.contains("starting the kernel") && ended.altered.iter().any(of_a_kernel)
}

/// The codes on the serial line.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split("[E").skip(1).filter_map(|rest| rest.split_once(']')).map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What the emulated board always complains about.
    const USUAL: &str = "[E1201] no generator\n";
    const ENTERED: &str = "starting the kernel at 0x48000000\n";

    fn files(number: u32) -> Files {
        let toplevel = format!("/nix/store/system-{number}");
        let command_line = format!("init={toplevel}/init console=ttymxc1");
        let (kernel_sum, initrd_sum) = (0x1000 + u64::from(number), 0x2000 + u64::from(number));
        Files { number, toplevel, command_line, kernel_sum, initrd_sum }
    }

    /// What the kernel of a sound generation says, with one line changed.
    fn says(number: u32, change: (&str, &str)) -> End {
        let Files { command_line, kernel_sum, initrd_sum, .. } = files(number);
        let lines = [
            ("/chosen bootargs", format!("{command_line} firn.x=1")),
            ("/firn-test generation", number.to_string()),
            ("device tree sum", "0x77".into()),
            ("initrd sum", format!("{initrd_sum:#x}")),
            ("kernel sum", format!("{kernel_sum:#x}")),
        ];
        let (changed, to) = change;
        assert!(changed.is_empty() || lines.iter().any(|(name, _)| *name == changed));
        let line = |(name, value): (&str, String)| {
            format!("{name}: {}\n", if name == changed { to } else { &value })
        };
        End::Kernel(Box::new(stub::Report::parse(&lines.into_iter().map(line).collect::<String>())))
    }

    fn runs(number: u32) -> End {
        says(number, ("", ""))
    }

    fn ended(end: End, text: &str) -> Ended {
        Ended {
            end,
            text: format!("{USUAL}{text}"),
            altered: BTreeSet::new(),
            card_changed: false,
            broken_rules: Vec::new(),
            commands: 0,
            took: Duration::from_secs(1),
        }
    }

    fn altered(ended: Ended, what: Unchecked) -> Ended {
        Ended { altered: [what].into(), ..ended }
    }

    fn reference() -> Reference {
        let text = format!("{ENTERED}{}", stub::BEGIN);
        Reference::new(vec![files(42), files(41)], &ended(runs(42), &text)).expect("a sound boot")
    }

    fn judge(ended: &Ended) -> Verdict {
        reference().judge(&[Fault::DeadCard], ended)
    }

    #[track_caller]
    fn assert_broken(ended: &Ended) {
        let verdict = judge(ended);
        assert!(matches!(verdict, Verdict::Broken(_)), "{verdict:?}: {ended:?}");
        assert!(!verdict.is_kept());
    }

    #[track_caller]
    fn assert_unnoticed(ended: &Ended) {
        let verdict = judge(ended);
        assert!(matches!(verdict, Verdict::Unnoticed(_)), "{verdict:?}: {ended:?}");
    }

    #[test]
    fn an_intact_default_keeps_the_promise() {
        assert_eq!(judge(&ended(runs(42), ENTERED)), Verdict::Default);
        assert_eq!(judge(&ended(runs(42), "[E102] told on the way\n")), Verdict::Default);
    }

    #[test]
    fn another_generation_keeps_it_only_below_an_error() {
        assert_eq!(judge(&ended(runs(41), "[E502] cut off\n")), Verdict::Another(41));
        assert_broken(&ended(runs(41), ENTERED));
    }

    #[test]
    fn a_prompt_keeps_it_only_below_an_error_that_a_sound_boot_does_not_have() {
        let told = ended(End::Prompt, "[E102] gone\n");
        assert_eq!(judge(&told), Verdict::Rescue("E102".into()));
        assert_eq!(judge(&ended(End::Prompt, USUAL)), Verdict::Rescue("E1201".into()), "once more");
        assert_broken(&ended(End::Prompt, ""));
        assert_broken(&ended(End::Prompt, "error without a code\n"));
    }

    #[test]
    fn panics_hangs_resets_and_a_dead_emulator_break_it_whatever_was_told() {
        for text in ["", "[E102] gone\n", ENTERED] {
            assert_broken(&ended(End::Gave("[E702] panic".into()), text));
            assert_broken(&ended(End::Hang, text));
            assert_broken(&ended(End::Reset, text));
            assert_broken(&ended(End::Emulator("signal 11".into()), text));
        }
    }

    #[test]
    fn anything_but_the_files_of_one_generation_breaks_it() {
        for change in [
            ("kernel sum", "0x1029"),
            ("initrd sum", "0x2029"),
            ("initrd sum", ""),
            ("device tree sum", "0x78"),
            ("/firn-test generation", "41"),
            ("/chosen bootargs", "init=/nix/store/system-42/init"),
            ("/chosen bootargs", "init=/nix/store/system-43/init console=ttymxc1"),
            ("/chosen bootargs", ""),
        ] {
            assert_broken(&ended(says(42, change), "[E102] told\n"));
        }
    }

    #[test]
    fn damage_excuses_what_it_altered_and_nothing_else() {
        use Unchecked::{Configuration, DeviceTree, Fat, Initrd, Kernel};
        for (line, own, others) in [
            ("kernel sum", Kernel(42), [Kernel(41), Initrd(42), DeviceTree(42)]),
            ("initrd sum", Initrd(42), [Initrd(41), Kernel(42), DeviceTree(42)]),
            ("device tree sum", DeviceTree(42), [DeviceTree(41), Kernel(42), Initrd(42)]),
            ("/chosen bootargs", Configuration, [Kernel(42), Initrd(42), DeviceTree(42)]),
        ] {
            let wrong = || ended(says(42, (line, "0x5")), ENTERED);
            for may in [own, Configuration, Fat] {
                assert_unnoticed(&altered(wrong(), may));
            }
            for other in others {
                assert_broken(&altered(wrong(), other));
            }
        }
    }

    #[test]
    fn only_a_kernel_that_was_entered_damaged_may_fail_or_fall_silent() {
        let ends = || {
            let never = End::Emulator("waited 120 s in vain for power-off".into());
            [End::Gave("[E701] exception".into()), End::Hang, never]
        };
        for end in ends() {
            assert_unnoticed(&altered(ended(end, ENTERED), Unchecked::Kernel(42)));
        }
        for end in ends() {
            assert_broken(&altered(ended(end, ENTERED), Unchecked::Initrd(42)));
        }
        for end in ends() {
            assert_broken(&altered(ended(end, "loading\n"), Unchecked::Kernel(42)));
        }
    }

    #[test]
    fn a_card_that_changed_elsewhere_breaks_it_and_so_does_a_broken_rule() {
        assert_broken(&Ended { card_changed: true, ..ended(runs(42), ENTERED) });
        let rude = Ended { broken_rules: vec!["too fast".into()], ..ended(runs(42), ENTERED) };
        assert_broken(&rude);
        assert_eq!(reference().judge(&[Fault::Swapped(3)], &rude), Verdict::Default);
    }

    #[test]
    fn a_boot_that_is_not_sound_is_no_reference() {
        for end in [runs(41), says(42, ("kernel sum", "0x0")), End::Prompt, End::Hang] {
            let text = ENTERED;
            assert!(Reference::new(vec![files(42), files(41)], &ended(end, text)).is_err());
        }
    }
}
