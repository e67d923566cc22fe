//! Files of DRAM timing: what is read is what is written, and what is good has all that a bring-up
//! needs.
#![no_main]

use firn::ddr::format::{File, MAX_RATES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let file = match File::parse(&text) {
        Ok(file) => file,
        Err(error) => {
            let lines = text.lines().count();
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error:?}");
            return drop(error.to_string());
        }
    };
    assert_eq!(File::parse(&file.to_string()), Ok(file.clone()), "{file}");
    assert_eq!(file.clone().over(File::default()).runs, file.runs);
    if file.check().is_ok() {
        let rates = file.rates.as_deref().unwrap_or_default();
        assert!((1..=MAX_RATES).contains(&rates.len()) && !rates.contains(&0), "{rates:?}");
        assert!(file.runs[0].is_some() && file.controller.is_some() && file.phy.is_some());
    }
});
