//! Containers, as the first stage reads them.

use firn::{
    error::{Code, Coded},
    image::{
        ErrorKind,
        container::{Container, MAX_SIZE, Part, PartKind, Role},
        training::KINDS,
    },
    release,
};
use sha2::{Digest, Sha256};

use crate::{Files, assert_complaints, content, inspect, target};

const HEADER: usize = 112;
const ENTRY: usize = 64;

/// The image's container, to be changed.
struct Edited {
    bytes: Vec<u8>,
}

impl Edited {
    fn new() -> Self {
        let image = Files::small().image();
        let at = target().container_at as usize;
        Self { bytes: image[at..at + MAX_SIZE].to_vec() }
    }

    fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn entry(self, index: usize, offset: usize, bytes: &[u8]) -> Self {
        self.with(HEADER + index * ENTRY + offset, bytes)
    }

    /// Gives it the digest that belongs to what it says now.
    fn sealed(mut self) -> Self {
        let field =
            |at: usize| usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]));
        let end = field(12) + field(14) * field(16);
        let digest = Sha256::digest(&self.bytes[..end]);
        self.bytes[end..end + 32].copy_from_slice(&digest);
        self
    }

    fn parse(&self) -> Result<Container<'_>, firn::image::Error> {
        Container::parse(&self.bytes, target().container_at)
    }

    #[track_caller]
    fn fails_with(&self, kind: ErrorKind, code: Code) {
        let error = self.parse().unwrap_err();
        assert_eq!(error.kind, kind);
        assert_eq!(error.code(), code);
        assert_eq!(error.offset, u64::from(target().container_at));
    }
}

fn part<'a>(container: &Container<'a>, kind: PartKind) -> Part {
    container.require(kind).unwrap()
}

#[test]
fn the_first_stage_finds_each_part_with_its_bytes_where_they_are_to_go() {
    let files = Files::small();
    let image = files.image();
    let at = target().container_at as usize;
    let container = Container::parse(&image[at..], target().container_at).unwrap();
    assert_eq!(container.expect(Role::Image, "imx8mp-evk"), Ok(()));
    assert_eq!(container.image_size as usize, image.len());
    let places = [
        (PartKind::Bl31, 0x97_0000),
        (PartKind::Tee, 0x5600_0000),
        (PartKind::Loader, 0x4020_0000),
    ];
    for (kind, address) in places {
        let part = part(&container, kind);
        let bytes = &image[part.offset as usize..][..part.size as usize];
        assert_eq!(bytes, files.of(kind));
        assert_eq!((part.load, part.entry), (address, address));
        assert_eq!(part.verify(bytes), Ok(()));
        assert_eq!(target().check_placement(&part), Ok(()));
        assert!(part.offset.is_multiple_of(1024), "media are read in whole pages");
    }
}

#[test]
fn the_first_stage_finds_its_training_firmware_behind_itself_in_memory() {
    for files in [Files::small(), Files::full()] {
        let image = files.image();
        let at = (64 + files.spl.len()).next_multiple_of(64);
        let container = Container::parse(&image[at..], u32::try_from(at).unwrap()).unwrap();
        assert_eq!(container.expect(Role::FirstStage, "imx8mp-evk"), Ok(()));
        for kind in KINDS.into_iter().chain([PartKind::Spl]) {
            let part = part(&container, kind);
            let bytes = &image[part.offset as usize..][..part.size as usize];
            assert_eq!(bytes, files.of(kind));
            // The boot ROM puts the image's first byte to 0x91ffc0.
            assert_eq!(part.load, 0x91_ffc0 + u64::from(part.offset));
            assert_eq!(part.verify(bytes), Ok(()));
            assert!(!part.dummy);
        }
        assert_eq!(part(&container, PartKind::Spl).entry, 0x92_0000);
    }
}

#[test]
fn a_part_streams_in_pages_of_any_size() {
    let bytes = content(9, 5000);
    let image = Files { spl: bytes.clone(), ..Files::small() }.image();
    let container = Container::parse(&image[5120..], 5120).unwrap();
    let spl = part(&container, PartKind::Spl);
    for page in [1, 512, 1024, 5000, 8192] {
        let mut verifier = spl.verifier();
        let mut padded = bytes.clone();
        padded.resize(bytes.len().next_multiple_of(page), 0xee);
        padded.chunks(page).for_each(|chunk| verifier.update(chunk));
        assert_eq!(verifier.finish(), Ok(()), "pages of {page}");
    }
}

#[test]
fn a_part_with_a_wrong_bit_or_too_few_bytes_is_refused() {
    let image = Files::small().image();
    let at = target().container_at as usize;
    let container = Container::parse(&image[at..], target().container_at).unwrap();
    let bl31 = part(&container, PartKind::Bl31);
    let mut bytes = image[bl31.offset as usize..][..bl31.size as usize].to_vec();
    bytes[4000] ^= 1;
    let error = bl31.verify(&bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Digest(PartKind::Bl31));
    assert_eq!(error.code(), Code::BootImageDigest);
    let error = bl31.verify(&bytes[..4000]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Truncated { needed: bl31.end(), found: bl31.end() - 1 });
}

#[test]
fn whatever_is_changed_without_the_digest_is_noticed() {
    let whole = Edited::new();
    let size = whole.parse().unwrap().size();
    for offset in 0..size {
        let mut bytes = whole.bytes.clone();
        bytes[offset] ^= 0x10;
        assert!(Container::parse(&bytes, target().container_at).is_err(), "offset {offset}");
    }
}

#[test]
fn each_wrong_header_is_told_apart() {
    let zeros = Edited { bytes: vec![0; MAX_SIZE] };
    zeros.fails_with(ErrorKind::NoContainer([0; 8]), Code::NotABootImage);
    let version = Edited::new().with(8, &[2]).sealed();
    version.fails_with(ErrorKind::Version(2), Code::BootImageForeign);
    let role = Edited::new().with(10, &[3]).sealed();
    role.fails_with(ErrorKind::Role(3), Code::BootImageForeign);
    let place = Edited::new().with(20, &0x1_0000u32.to_le_bytes()).sealed();
    place.fails_with(ErrorKind::Misplaced(0x1_0000), Code::BootImageForeign);
    let field = |field, found| ErrorKind::Container { field, found };
    let header = Edited::new().with(12, &[72]);
    header.fails_with(field("header size", 72), Code::BootImageHeader);
    let entry = Edited::new().with(14, &[68]);
    entry.fails_with(field("entry size", 68), Code::BootImageHeader);
    let count = Edited::new().with(16, &[17]);
    count.fails_with(field("number of parts", 17), Code::BootImageHeader);
    let board = Edited::new().with(48, &[0]).sealed();
    board.fails_with(field("board", 0), Code::BootImageHeader);
    let digest = Edited::new().with(48, b"x");
    digest.fails_with(ErrorKind::Checksum, Code::BootImageHeader);
}

#[test]
fn an_image_of_another_board_is_refused() {
    let edited = Edited::new().with(48, b"imx8mq-evk\0").sealed();
    let error = edited.parse().unwrap().expect(Role::Image, "imx8mp-evk").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Board);
    assert_eq!(error.code(), Code::BootImageForeign);
}

/// Parts of the image: 0 what the ROM loads, 1 BL31, 2 OP-TEE, 3 the second stage.
#[test]
fn each_impossible_part_is_told_apart() {
    let case = |index, offset, bytes: &[u8]| Edited::new().entry(index, offset, bytes).sealed();
    let placement = Code::BootImagePlacement;
    case(1, 8, &[0; 4]).fails_with(ErrorKind::PartOutside(PartKind::Bl31), placement);
    case(1, 8, &[0xff; 4]).fails_with(ErrorKind::PartOutside(PartKind::Bl31), placement);
    let container = target().container_at.to_le_bytes();
    case(3, 4, &container).fails_with(ErrorKind::PartOutside(PartKind::Loader), placement);
    let address = u64::MAX - 1;
    case(1, 16, &address.to_le_bytes())
        .fails_with(ErrorKind::Placement { part: PartKind::Bl31, address }, placement);
    let address = 0x98_0000u64;
    case(1, 24, &address.to_le_bytes())
        .fails_with(ErrorKind::Placement { part: PartKind::Bl31, address }, placement);
    case(2, 0, &PartKind::Bl31.number().to_le_bytes())
        .fails_with(ErrorKind::Duplicate(PartKind::Bl31), placement);
    let over_loader = [0x4020_0000u64.to_le_bytes(); 2].concat();
    case(2, 16, &over_loader)
        .fails_with(ErrorKind::Overlap(PartKind::Tee, PartKind::Loader), placement);
    case(2, 4, &(0x4_1000u32 + 512).to_le_bytes())
        .fails_with(ErrorKind::Overlap(PartKind::Bl31, PartKind::Tee), placement);
}

#[test]
fn a_part_over_another_ones_memory_is_refused_by_the_board() {
    let at = |address: u64| {
        let place = [address.to_le_bytes(), address.to_le_bytes()].concat();
        let edited = Edited::new().entry(1, 16, &place).sealed();
        let bl31 = part(&edited.parse().unwrap(), PartKind::Bl31);
        target().check_placement(&bl31)
    };
    assert_eq!(at(0x97_0000), Ok(()));
    for address in [0x95_0000, 0x96_ffff, 0x97_0010, 0x98_f001, 0x4800_0000, 0] {
        let error = at(address).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Placement { part: PartKind::Bl31, address });
    }
}

#[test]
fn a_later_version_may_add_fields_and_parts_that_need_not_be_understood() {
    let known = Edited::new();
    let count = known.parse().unwrap().parts().count();
    // The last part becomes one of an unknown kind.
    let strange = Edited::new().entry(3, 0, &[0x77, 0x77]);
    let essential = Edited { bytes: strange.bytes.clone() }.sealed();
    essential.fails_with(ErrorKind::UnknownPart(0x7777), Code::BootImageForeign);
    let optional = strange.entry(3, 2, &[0, 0]).sealed();
    assert_eq!(optional.parse().unwrap().parts().count(), count - 1);

    // A header of 128 and entries of 72 bytes.
    let mut bytes = known.bytes[..HEADER].to_vec();
    bytes[12] = 128;
    bytes[14] = 72;
    bytes.resize(128, 0xaa);
    for entry in known.bytes[HEADER..HEADER + 4 * ENTRY].chunks(ENTRY) {
        bytes.extend_from_slice(entry);
        bytes.extend_from_slice(&[0xaa; 8]);
    }
    bytes.resize(MAX_SIZE, 0);
    let larger = Edited { bytes }.sealed();
    let (old, new) = (known.parse().unwrap(), larger.parse().unwrap());
    assert_eq!(new.parts().collect::<Vec<_>>(), old.parts().collect::<Vec<_>>());
}

/// Files whose second stage tells this version.
fn of_release(version: &str) -> Files {
    let mut files = Files::small();
    let (_, loader) = files.pieces.iter_mut().find(|(kind, _)| *kind == PartKind::Loader).unwrap();
    let field = [version.as_bytes(), &[0; 32]].concat();
    loader.splice(4001..4001, [&release::MARK, &field[..32]].concat());
    files
}

#[test]
fn an_image_has_the_version_that_its_second_stage_tells() {
    let version = |files: &Files| {
        let image = files.image();
        let at = target().container_at;
        let container = Container::parse(&image[at as usize..], at).unwrap();
        assert_eq!(inspect(&image).version.as_deref(), container.version());
        container.version().map(str::to_owned)
    };
    assert_eq!(version(&Files::small()), None);
    assert_eq!(version(&of_release("0.7.2")).as_deref(), Some("0.7.2"));
    let longest = "12345.67890.12345-678901234567890";
    assert_eq!(version(&of_release(&longest[..32])).as_deref(), Some(&longest[..32]));
}

#[test]
fn a_version_that_is_changed_without_the_digest_is_noticed() {
    let mut image = of_release("0.7.2").image();
    let at = target().container_at as usize;
    assert_eq!(&image[at + 80..at + 86], b"0.7.2\0");
    image[at + 80] = b'9';
    assert_complaints(
        &image,
        &["[E903] the container's header does not have its digest, at offset 0x40000"],
    );
}

#[test]
fn a_container_from_before_there_were_versions_is_read_as_ever() {
    let known = Edited::new();
    let mut bytes = [&known.bytes[..80], &known.bytes[HEADER..]].concat();
    bytes[12] = 80;
    let old = Edited { bytes }.sealed();
    let (old, new) = (old.parse().unwrap(), known.parse().unwrap());
    assert_eq!(old.version(), None);
    assert_eq!(old.parts().collect::<Vec<_>>(), new.parts().collect::<Vec<_>>());
    assert_eq!(old.size() + 32, new.size());
}

#[test]
fn a_version_that_no_release_has_is_none() {
    for nonsense in [&b"1 2"[..], b"\n", b"1\xff", b"1\0x"] {
        assert_eq!(Edited::new().with(80, nonsense).sealed().parse().unwrap().version(), None);
    }
}
