//! Which files are taken for training firmware.

use firn::{
    error::{Code, Coded},
    image::{
        container::PartKind::{self, *},
        training::{KINDS, Leniency, check, dummy, padded},
    },
};

use crate::content;

const RELEASE: &str = "_202006";
/// Sizes of that release, from a listing of firmware-imx 8.15.
const SIZES: [usize; 4] = [32_364, 1_660, 25_456, 1_404];

fn verdict(kind: PartKind, bytes: &[u8]) -> Result<(), (Code, String)> {
    check(kind, bytes, RELEASE, Leniency::default()).map_err(|e| (e.code(), e.to_string()))
}

#[track_caller]
fn assert_refused(kind: PartKind, bytes: &[u8], text: &str) {
    assert_eq!(verdict(kind, bytes), Err((Code::TrainingFirmware, text.to_owned())));
}

#[test]
fn files_of_the_release_are_taken_raw_and_padded() {
    for (kind, size) in KINDS.into_iter().zip(SIZES) {
        let raw = content(1, size);
        assert_eq!(verdict(kind, &raw), Ok(()));
        assert_eq!(verdict(kind, &padded(kind, &raw)), Ok(()));
    }
}

#[test]
fn a_truncated_file_is_told_with_the_size_that_it_should_have() {
    assert_refused(
        Training1dImem,
        &content(1, 32_000),
        "not the 1D training firmware (IMEM): it has 32000 bytes instead of 32364 (or 32768, \
         padded), is it truncated?",
    );
    assert_refused(Training2dDmem, &[], "not the 2D training firmware (DMEM): it is empty");
    assert_refused(
        Training2dDmem,
        &content(1, 1_403),
        "not the 2D training firmware (DMEM): it has 1403 bytes instead of 1404 (or 16384, \
         padded), is it truncated?",
    );
    let cut_then_padded = padded(Training1dImem, &content(1, 20_000));
    assert_refused(
        Training1dImem,
        &cut_then_padded,
        "not the 1D training firmware (IMEM): 20000 bytes in front of the padding instead of \
         32364, is it truncated or another file?",
    );
}

#[test]
fn files_that_were_mixed_up_are_told_by_their_names() {
    assert_refused(
        Training2dImem,
        &content(1, 32_364),
        "not the 2D training firmware (IMEM): its size, 32364 bytes, is that of \
         lpddr4_pmu_train_1d_imem_202006.bin",
    );
    assert_refused(
        Training1dDmem,
        &content(1, 1_404),
        "not the 1D training firmware (DMEM): its size, 1404 bytes, is that of \
         lpddr4_pmu_train_2d_dmem_202006.bin",
    );
    assert_refused(
        Training1dDmem,
        &content(1, 32_364),
        "not the 1D training firmware (DMEM): it has 32364 bytes, the memory that it is for has \
         16384",
    );
    let padded_1d = padded(Training1dImem, &content(1, 32_364));
    assert_refused(
        Training2dImem,
        &padded_1d,
        "not the 2D training firmware (IMEM): 32364 bytes in front of the padding instead of \
         25456, is it another file?",
    );
}

#[test]
fn files_of_another_release_are_taken_on_request_only() {
    let other = content(1, 32_632);
    assert_refused(
        Training1dImem,
        &other,
        "not the 1D training firmware (IMEM): its size, 32632 bytes, is that of \
         lpddr4_pmu_train_1d_imem_201904.bin",
    );
    let lenient = Leniency { other_sizes: true, dummies: false };
    assert_eq!(check(Training1dImem, &other, RELEASE, lenient), Ok(()));
    assert_eq!(check(Training1dImem, &content(1, 500), RELEASE, lenient), Ok(()));
    assert!(check(Training1dImem, &content(1, 40_000), RELEASE, lenient).is_err());
}

#[test]
fn blank_files_are_refused_whatever_is_asked_for() {
    let lenient = Leniency { other_sizes: true, dummies: true };
    for byte in [0, 0xff] {
        let error = check(Training1dDmem, &[byte; 1_660], RELEASE, lenient).unwrap_err();
        let text = format!("not the 1D training firmware (DMEM): all its bytes are {byte:#04x}");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_dummy_looks_like_one_and_is_taken_on_request_only() {
    for (kind, size) in KINDS.into_iter().zip(SIZES) {
        let raw = dummy(kind, RELEASE);
        assert_eq!(raw.len(), size);
        let text = String::from_utf8_lossy(&raw[..80]).into_owned();
        assert!(
            text.starts_with(&format!("FIRN DUMMY, NOT TRAINING FIRMWARE: {kind}\n")),
            "{text}"
        );
        for bytes in [raw.clone(), padded(kind, &raw)] {
            let (code, text) = verdict(kind, &bytes).unwrap_err();
            assert_eq!(code, Code::DummyTrainingFirmware);
            assert!(text.ends_with("it is a dummy, which trains nothing on a real board"));
            let lenient = Leniency { dummies: true, other_sizes: false };
            assert_eq!(check(kind, &bytes, RELEASE, lenient), Ok(()));
        }
    }
}

#[test]
fn a_truncated_dummy_and_one_of_another_file_are_refused_whatever_is_asked_for() {
    let lenient = Leniency { dummies: true, other_sizes: false };
    let refusal = |kind, bytes: &[u8]| {
        let error = check(kind, bytes, RELEASE, lenient).unwrap_err();
        (error.code(), error.to_string())
    };
    let whole = dummy(Training1dDmem, RELEASE);
    let (code, text) = refusal(Training1dDmem, &whole[..1_000]);
    assert_eq!(code, Code::TrainingFirmware);
    assert!(text.contains("1000 bytes instead of 1660"), "{text}");
    // Padded, both have the same size.
    let other = padded(Training2dDmem, &dummy(Training2dDmem, RELEASE));
    let (code, text) = refusal(Training1dDmem, &other);
    assert_eq!(code, Code::TrainingFirmware);
    assert_eq!(
        text,
        "not the 1D training firmware (DMEM): it is a dummy of the 2D training firmware (DMEM)"
    );
}
