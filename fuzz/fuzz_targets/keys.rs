//! Bytes of a serial line to keys: the same whatever the pauses that a slow line makes, and never
//! stuck in a sequence.
#![no_main]

use std::time::Duration;

use firn::menu::keys::{Decoder, ESCAPE_WAIT, Event, Key};
use libfuzzer_sys::fuzz_target;

const LONG: Duration = Duration::from_secs(1);

fuzz_target!(|data: &[u8]| {
    let together = decode(data, |_| Duration::ZERO);
    let slowly = decode(data, |_| ESCAPE_WAIT / 5);
    assert_eq!(together, slowly);
    for event in &together {
        if let Event::Key(Key::Character(character) | Key::Alt(character)) = event {
            assert!(matches!(character, ' '..='~'), "{character:?}");
        }
        if let Event::Key(Key::Control(character)) = event {
            assert!(character.is_ascii_lowercase() || "[\\]^_`".contains(*character));
        }
    }
    // Any pauses: each byte is at most two events, none is lost in silence.
    decode(data, |byte| Duration::from_millis(u64::from(byte) * 3));
});

fn decode(bytes: &[u8], pause: impl Fn(u8) -> Duration) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut now = LONG;
    let mut events = Vec::new();
    for &byte in bytes {
        events.extend(decoder.push(byte, now).into_iter().flatten());
        now += pause(byte);
    }
    now += LONG;
    events.extend(decoder.poll(now));
    assert_eq!(decoder.poll(now), None);
    assert_eq!(decoder.push(b'x', now), [Some(Event::Key(Key::Character('x'))), None]);
    assert!(events.len() <= 2 * bytes.len());
    events
}
