//! `boot.json`: what is read is what another JSON parser reads, and nothing that the kernel or a
//! person gets holds control characters.
#![no_main]

use firn::nixos::bootspec::{Bootspec, MAX_SPECIALISATIONS, parse};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let bootspec = match parse(data) {
        Ok(bootspec) => bootspec,
        Err(error) => return drop(error.to_string()),
    };
    let document: Value = serde_json::from_slice(data).expect("no JSON, and yet it was read");
    let mut count = 0;
    compare(&bootspec, &document, &mut count);
    assert!(count <= MAX_SPECIALISATIONS);
});

fn compare(bootspec: &Bootspec, document: &Value, count: &mut usize) {
    let spec = &document["org.nixos.bootspec.v1"];
    for (text, key) in
        [(&bootspec.toplevel, "toplevel"), (&bootspec.init, "init"), (&bootspec.kernel, "kernel")]
    {
        assert_eq!(Some(text.as_str()), spec[key].as_str());
        assert!(!text.contains(char::is_control), "{key} {text:?}");
    }
    assert_eq!(bootspec.initrds, initrds(document));
    let parameters = spec["kernelParams"].as_array().expect("a list");
    assert_eq!(bootspec.kernel_params.len(), parameters.len());
    for (parameter, text) in bootspec.kernel_params.iter().zip(parameters) {
        assert_eq!(Some(parameter.as_str()), text.as_str());
    }
    let texts = bootspec.kernel_params.iter().chain(&bootspec.initrds).chain([&bootspec.label]);
    texts.for_each(|text| assert!(!text.contains(char::is_control), "{text:?}"));
    for child in &bootspec.specialisations {
        *count += 1;
        assert!(!child.name.contains(char::is_control), "{:?}", child.name);
        // Names are shown without control characters, and may then be alike.
        let named = &document["org.nixos.specialisation.v1"][child.name.as_str()];
        if let (Ok(child), Value::Object(_)) = (&child.bootspec, named)
            && named["org.nixos.bootspec.v1"]["toplevel"] == child.toplevel.as_str()
        {
            compare(child, named, count);
        }
    }
}

fn initrds(document: &Value) -> Vec<&str> {
    let extra = document["org.nixos.extra-initrd.v1"]["paths"].as_array().into_iter().flatten();
    let first = document["org.nixos.bootspec.v1"].get("initrd");
    first.into_iter().chain(extra).map(|path| path.as_str().expect("a text")).collect()
}
