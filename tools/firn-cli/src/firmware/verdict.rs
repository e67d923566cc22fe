//! What has to be forced: going back to an older firmware, and replacing what is not known.

use std::fmt;

use firn::image::inspect::{Format, Image};
use semver::Version;

/// A reason not to replace one image by another one unless that is forced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Objection {
    /// Nobody knows what it is.
    Foreign { place: String },
    /// The new one is older.
    Older { place: String, has: Version, new: Version },
    /// Which one is older cannot be told.
    Incomparable { place: String, has: String, new: String },
    /// There is nothing to compare with.
    NoneThere { device: String },
}

/// What speaks against `new`, given the images that `device` has, each with what a user calls its place,
/// and whether it is intact.
pub(super) fn objections(
    new: &Image,
    there: &[(&str, &Image, bool)],
    device: &str,
) -> Vec<Objection> {
    let mut objections: Vec<_> = there
        .iter()
        .filter_map(|(place, image, intact)| against(new, place, image, *intact))
        .collect();
    if !there.iter().any(|(_, image, intact)| *intact || image.format != Format::Firn) {
        objections.push(Objection::NoneThere { device: device.to_owned() });
    }
    objections
}

fn against(new: &Image, place: &str, image: &Image, intact: bool) -> Option<Objection> {
    let place = place.to_owned();
    if image.format != Format::Firn {
        return Some(Objection::Foreign { place });
    }
    // Whatever it was, nothing is left to go back from.
    if !intact {
        return None;
    }
    match (parsed(image), parsed(new)) {
        (Some(has), Some(new)) if new < has => Some(Objection::Older { place, has, new }),
        (Some(_), Some(_)) => None,
        _ => Some(Objection::Incomparable { place, has: version(image), new: version(new) }),
    }
}

fn parsed(image: &Image) -> Option<Version> {
    Version::parse(image.version.as_deref()?).ok()
}

/// What a user reads of an image's version.
pub(super) fn version(image: &Image) -> String {
    match (&image.version, image.format) {
        (Some(version), _) => format!("Firn {version}"),
        (None, Format::Firn) => "Firn of unknown version".to_owned(),
        (None, Format::Fit) => "first stage and FIT of U-Boot or NXP, version unknown".to_owned(),
        (None, Format::Unknown) => "a first stage of an unknown kind".to_owned(),
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { place } => write!(f, "{place} holds a boot image that is not Firn's"),
            Self::Older { place, has, new } => {
                write!(f, "{place} has Firn {has}, the new one is older: {new}")
            }
            Self::Incomparable { place, has, new } => {
                write!(f, "which is newer cannot be told: {place} has {has}, the new one is {new}")
            }
            Self::NoneThere { device } => {
                write!(f, "{device} has no intact firmware that an update could replace")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use firn::image::inspect::Place;

    use super::*;

    fn image(version: Option<&str>) -> Image {
        Image {
            offset: 0,
            place: Place::Start,
            format: Format::Firn,
            board: None,
            version: version.map(str::to_owned),
            size: 0,
            parts: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn against_one(new: Option<&str>, has: Option<&str>) -> Vec<String> {
        let (new, has) = (image(new), image(has));
        let found = objections(&new, &[("the primary copy", &has, true)], "card");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_and_newer_versions_are_welcome() {
        for (new, has) in
            [("0.2.0", "0.1.9"), ("0.1.0", "0.1.0"), ("0.10.0", "0.9.0"), ("1.0.0", "1.0.0-rc.1")]
        {
            assert_eq!(against_one(Some(new), Some(has)), [""; 0], "{new} over {has}");
        }
    }

    #[test]
    fn older_versions_have_to_be_forced() {
        for (new, has) in [("0.1.9", "0.2.0"), ("0.9.0", "0.10.0"), ("1.0.0-rc.1", "1.0.0")] {
            let wanted = format!("the primary copy has Firn {has}, the new one is older: {new}");
            assert_eq!(against_one(Some(new), Some(has)), [wanted]);
        }
    }

    #[test]
    fn what_cannot_be_compared_has_to_be_forced() {
        for (new, has) in
            [(None, Some("0.1.0")), (Some("0.1.0"), None), (Some("0.1"), Some("0.1.0"))]
        {
            let told = against_one(new, has);
            assert!(told[0].contains("cannot be told"), "{told:?}");
        }
    }

    #[test]
    fn what_is_damaged_is_not_compared_and_what_is_foreign_is_named() {
        let (new, newer) = (image(Some("0.1.0")), image(Some("0.2.0")));
        let good = image(Some("0.1.0"));
        let there = [("the primary copy", &newer, false), ("the secondary copy", &good, true)];
        assert_eq!(objections(&new, &there, "card"), []);
        assert!(matches!(objections(&new, &there[..1], "card")[..], [Objection::NoneThere { .. }]));
        assert!(matches!(objections(&new, &[], "card")[..], [Objection::NoneThere { .. }]));
        let foreign = Image { format: Format::Fit, ..image(None) };
        let there = [("the primary copy", &foreign, true), ("the secondary copy", &good, true)];
        assert!(matches!(objections(&new, &there, "card")[..], [Objection::Foreign { .. }]));
    }
}
