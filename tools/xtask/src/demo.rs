//! `cargo xtask demo`: from nothing to the menu, on a card with a real kernel and three NixOS
//! generations.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use evk::{
    assets::{self, Assets},
    card::{CardImage, Table},
    flash::Flash,
    gdb::Hardware,
    keys::{ENTER, Script, Step},
    nixos::{self, DEVICE_TREE, System},
    qemu::{Entry, Machine, Slot},
    session::Session,
    terminal::{self, Ending, HOW_TO_LEAVE},
    userspace::Report,
};

use crate::{
    build,
    setup::{self, Need},
};

/// Boot three NixOS generations with a real kernel in the emulated EVK, the menu on this terminal.
///
/// The board starts with its boot ROM, from a flash.bin on the card: first stage, DRAM training on a
/// model of the PHY, BL31, second stage.
///
/// Example: cargo xtask demo --script 'down enter'
///
/// Words of a key script: up down left right enter esc tab space backspace home end page-up
/// page-down insert delete ctrl-X, any single character, type:TEXT, wait:TEXT, sleep:MS; quotes
/// around what has spaces.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Play these keys as soon as the menu is there, and succeed only if userspace of the
    /// generation that they choose is reached
    #[arg(long, value_name = "KEYS", value_parser = Script::parse)]
    script: Option<Script>,
    /// Start the second stage at once, without boot ROM, first stage and BL31, on four cores
    #[arg(long)]
    short: bool,
    /// Memory of the board with --short; the first stage trains the 6 GiB that the EVK has
    #[arg(long, value_name = "SIZE", default_value = "2G", requires = "short")]
    memory: String,
}

/// What both forms of the menu say: the log with a countdown, and the screen.
const MENU: &str = "Enter boot";
/// What the row of the selected generation begins with, and the screen of the editor.
const SELECTED: [&str; 2] = ["> ", "Command line of generation "];
/// How long the menu may take to show what a key did.
const REDRAW: Duration = Duration::from_millis(500);
/// From the start to the menu; it takes ten seconds alone, most of them to train memory.
const MENU_DEADLINE: Duration = Duration::from_secs(180);
/// From the choice to userspace, which takes six seconds alone.
const USERSPACE_DEADLINE: Duration = Duration::from_secs(180);

/// How long the emulator may take to end after the board's last word.
const ENDING: Duration = Duration::from_secs(10);

/// Sets up, builds, makes the card, boots it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(Need::Boots)?;
    eprintln!("Building first and second stage");
    build::firmware()?;
    let assets = Assets::locate()?;
    let system = match arguments.short {
        false => System::real(&assets)?.on_one_cpu(),
        true => System::real(&assets)?,
    };
    let card = make_card(&system, Flash::of_this_tree(&assets)?.bytes()?)?;
    let machine = match arguments.short {
        false => Machine::new(Entry::BootRom(Hardware::default())),
        true => Machine::new(Entry::Kernel {
            image: assets::firmware("firn.bin")?,
            device_tree: assets.dtbs.join(DEVICE_TREE),
            initrd: None,
            command_line: None,
        })
        .memory(&arguments.memory),
    };
    let machine = machine.card(Slot::Sd, card.path());
    match &arguments.script {
        Some(script) => play(&machine, &assets, &system, script),
        None => show(&machine, &assets),
    }
}

/// Makes the card, with `flash` where the boot ROM looks, unless nothing in it has changed.
fn make_card(system: &System, flash: Vec<u8>) -> Result<CardImage> {
    let folder = assets::tree().join("target/firn/demo");
    let started = Instant::now();
    eprintln!(
        "Making a card with {} generations in {}",
        system.generations.len(),
        folder.display()
    );
    let card =
        nixos::card_with_fat_boot(Table::Gpt, system.boot_folder()).flash(flash).make(&folder)?;
    eprintln!("{} is ready ({:.1} s)", card.path().display(), started.elapsed().as_secs_f64());
    Ok(card)
}

fn show(machine: &Machine, assets: &Assets) -> Result<()> {
    eprintln!("The emulated board starts. {HOW_TO_LEAVE}");
    let mut session = machine.start(assets)?;
    match terminal::attach(&mut session)? {
        Ending::Left => Ok(()),
        Ending::Ended(_) => {
            session.expect_power_off(ENDING)?;
            eprintln!("The board is off.");
            Ok(())
        }
    }
}

fn play(machine: &Machine, assets: &Assets, system: &System, script: &Script) -> Result<()> {
    eprintln!("The emulated board starts.");
    let mut session = machine.start(assets)?;
    let outcome = play_to_userspace(&mut session, script);
    println!("{}", session.text().trim());
    let (chosen, report) = outcome?;
    let chosen = match chosen {
        Some(number) => number,
        None => system.generations.get(system.default).context("a card without a default")?.number,
    };
    let booted = booted_generation(system, &report)?;
    ensure!(booted == chosen, "generation {chosen} was chosen, and {booted} booted");
    println!("Userspace of generation {booted} was reached.");
    Ok(())
}

/// Returns the generation that was selected when enter was pressed, and what userspace says.
fn play_to_userspace(session: &mut Session, script: &Script) -> Result<(Option<u32>, Report)> {
    if !script.waits_first() {
        session.expect(MENU, MENU_DEADLINE)?;
    }
    let mut chosen = None;
    for step in script.steps() {
        if *step == Step::Send(ENTER.into()) {
            thread::sleep(REDRAW);
            chosen = selected(&session.screen()).or(chosen);
        }
        session.step(step, MENU_DEADLINE)?;
    }
    let report = session.expect_userspace(USERSPACE_DEADLINE)?;
    session.expect_power_off(USERSPACE_DEADLINE)?;
    Ok((chosen, report))
}

/// The number of the generation that is selected on the menu's screen.
fn selected(screen: &[String]) -> Option<u32> {
    let behind =
        |row: &String| SELECTED.iter().find_map(|mark| row.strip_prefix(mark).map(str::to_owned));
    let name = screen.iter().find_map(behind)?;
    name.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// The generation that all pieces of the boot come from.
fn booted_generation(system: &System, report: &Report) -> Result<u32> {
    let toplevel = report.toplevel().context("userspace's command line names no init")?;
    let generation = system
        .generations
        .iter()
        .find(|generation| generation.toplevel() == toplevel)
        .with_context(|| format!("no generation on the card is {toplevel}"))?;
    let number = generation.number.to_string();
    for (piece, of) in
        [("initrd", &report.initrd_generation), ("device tree", &report.tree_generation)]
    {
        ensure!(*of == number, "the {piece} is of generation {of:?}, the command line of {number}");
    }
    Ok(generation.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(screen: &str) -> Vec<String> {
        screen.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_selected_generation_is_read_from_the_list_and_from_the_editor() {
        let list = rows("Firn  NixOS generations\n  42   2026-02-14\n> 41   2026-01-10\n");
        assert_eq!(selected(&list), Some(41));
        let editor = rows("Command line of generation 40 (rescue), for this boot\n\n<quiet\n");
        assert_eq!(selected(&editor), Some(40));
        assert_eq!(selected(&rows("Booting generation 42 in 5 4 3\n")), None);
    }
}
