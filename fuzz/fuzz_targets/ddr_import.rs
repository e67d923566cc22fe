//! What `firn ddr import` reads: C tables and scripts of NXP's DDR tool. A timing that is made of them
//! can be written and read again, and what a script was applied to agrees with it.
#![no_main]
#![allow(dead_code, reason = "the sources of `firn`, of which a part is not asked for")]

#[path = "../../tools/firn-cli/src/ddr/import/c.rs"]
mod c;
#[path = "../../tools/firn-cli/src/ddr/import/condition.rs"]
mod condition;
#[path = "../../tools/firn-cli/src/ddr/import/script.rs"]
mod script;
#[path = "../../tools/firn-cli/src/ddr/import/tables.rs"]
mod tables;

use std::sync::LazyLock;

use firn::ddr::format::File;
use libfuzzer_sys::fuzz_target;

/// What a script is applied to.
static BASE: LazyLock<File> = LazyLock::new(|| {
    let text = include_str!("../../board/imx8mp-evk/ddr/lpddr4-4000.timing");
    File::parse(text).expect("a board's timing")
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut source = c::Source::new(&["CONFIG_SET".to_owned()]);
    match source.read(&text) {
        Err(error) => drop(format!("{error:#}")),
        Ok(()) => {
            if let Ok(file) = tables::collect(&source, None) {
                written_and_read(&file);
            }
        }
    }
    match script::Script::parse(&text) {
        Err(error) => drop(format!("{error:#}")),
        Ok(script) => {
            if let Ok(file) = script.apply(&BASE) {
                written_and_read(&file);
                script.verify(&file).expect("a script agrees with what it was applied to");
            }
        }
    }
});

fn written_and_read(file: &File) {
    // A file without runs is none that could be written.
    if file.check().is_ok() {
        assert_eq!(File::parse(&file.to_string()).as_ref(), Ok(file), "{file}");
    }
}
