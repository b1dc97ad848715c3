//! The capability chain of a region's description: what an encoder wrote is what comes out, and a
//! hostile chain is an error, never a panic and never endless.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use vfio_common::region::{Area, Chain, ChainError, RegionFlags, RegionInfo, RegionType};

const FIXED: usize = RegionInfo::FIXED_LENGTH;
const SPARSE: u16 = 1;
const TYPE: u16 = 2;
const MSIX_MAPPABLE: u16 = 3;
const HEADER: usize = 8;

#[derive(Debug, Clone)]
enum Payload {
    Sparse(Vec<Area>),
    Type(RegionType),
    MsixMappable,
    Unknown(u16, Vec<u8>),
}

impl Payload {
    fn id(&self) -> u16 {
        match self {
            Self::Sparse(_) => SPARSE,
            Self::Type(_) => TYPE,
            Self::MsixMappable => MSIX_MAPPABLE,
            Self::Unknown(id, _) => *id,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Sparse(areas) => {
                let count = u32::try_from(areas.len()).unwrap();
                let mut bytes = [count.to_ne_bytes(), NOISE].concat();
                for area in areas {
                    bytes.extend([area.offset.to_ne_bytes(), area.size.to_ne_bytes()].concat());
                }
                bytes
            }
            Self::Type(kind) => [kind.kind.to_ne_bytes(), kind.subtype.to_ne_bytes()].concat(),
            Self::MsixMappable => Vec::new(),
            Self::Unknown(_, bytes) => bytes.clone(),
        }
    }

    /// The bytes of the payload that a reader needs.
    fn needed(&self) -> usize {
        match self {
            Self::Sparse(areas) if areas.is_empty() => 4,
            Self::Sparse(_) | Self::Type(_) => self.bytes().len(),
            Self::MsixMappable | Self::Unknown(..) => 0,
        }
    }
}

const NOISE: [u8; 4] = [0xa5; 4];

#[derive(Debug, Clone)]
struct Item {
    payload: Payload,
    version: u16,
    /// Bytes of noise before the header; makes offsets unaligned.
    gap: usize,
}

#[derive(Debug, Clone)]
struct Description {
    info: RegionInfo,
    items: Vec<Item>,
    /// Bytes of noise behind the last capability.
    tail: usize,
}

impl Description {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = fixed_part(&self.info);
        // Where the offset of the next capability has to be written.
        let mut link = 12;
        for item in &self.items {
            bytes.extend(vec![NOISE[0]; item.gap]);
            let at = u32::try_from(bytes.len()).unwrap();
            bytes[link..link + 4].copy_from_slice(&at.to_ne_bytes());
            link = bytes.len() + 4;
            bytes.extend(header(item.payload.id(), item.version, 0));
            bytes.extend(item.payload.bytes());
        }
        bytes.extend(vec![NOISE[0]; self.tail]);
        bytes
    }

    /// Length of what a reader needs.
    fn needed(&self) -> usize {
        match self.items.last() {
            Some(last) if self.info.flags.contains(RegionFlags::CAPS) => {
                self.encode().len() - self.tail - last.payload.bytes().len() + last.payload.needed()
            }
            _ => FIXED,
        }
    }
}

fn fixed_part(info: &RegionInfo) -> Vec<u8> {
    let mut bytes = [NOISE, info.flags.bits().to_ne_bytes(), NOISE, [0; 4]].concat();
    bytes.extend([info.size.to_ne_bytes(), info.offset.to_ne_bytes()].concat());
    bytes
}

fn header(id: u16, version: u16, next: u32) -> Vec<u8> {
    [&id.to_ne_bytes()[..], &version.to_ne_bytes(), &next.to_ne_bytes()].concat()
}

fn area() -> impl Strategy<Value = Area> {
    (any::<u64>(), any::<u64>()).prop_map(|(offset, size)| Area { offset, size })
}

fn item(payload: impl Strategy<Value = Payload>) -> impl Strategy<Value = Item> {
    (payload, any::<u16>(), 0usize..9).prop_map(|(payload, version, gap)| Item {
        payload,
        version,
        gap,
    })
}

fn description() -> impl Strategy<Value = Description> {
    let sparse = vec(area(), 0..5).prop_map(Payload::Sparse);
    let kind =
        any::<(u32, u32)>().prop_map(|(kind, subtype)| Payload::Type(RegionType { kind, subtype }));
    let unknown = (prop_oneof![Just(0), 4..=u16::MAX], vec(any::<u8>(), 0..20))
        .prop_map(|(id, bytes)| Payload::Unknown(id, bytes));
    let items = (
        option::of(item(sparse)),
        option::of(item(kind)),
        vec(item(Just(Payload::MsixMappable)), 0..3),
        vec(item(unknown), 0..4),
    );
    let items = items
        .prop_map(|(sparse, kind, msix, unknown)| {
            sparse.into_iter().chain(kind).chain(msix).chain(unknown).collect::<Vec<_>>()
        })
        .prop_shuffle();
    let fixed = (any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    (fixed, items, 0usize..20).prop_map(|((index, flags, size, offset), items, tail)| {
        let flags = RegionFlags::from_bits_retain(flags);
        let mut info = RegionInfo::new(index, flags, size, offset);
        if flags.contains(RegionFlags::CAPS) {
            for item in &items {
                match &item.payload {
                    Payload::Sparse(areas) => info.sparse = Some(areas.clone()),
                    Payload::Type(kind) => info.kind = Some(*kind),
                    Payload::MsixMappable => info.msix_mappable = true,
                    Payload::Unknown(..) => {}
                }
            }
        }
        Description { info, items, tail }
    })
}

proptest! {
    #[test]
    fn a_well_formed_description_parses_to_what_was_encoded(description in description()) {
        let bytes = description.encode();
        prop_assert_eq!(RegionInfo::parse(description.info.index, &bytes), Ok(description.info));
    }

    #[test]
    fn a_well_formed_chain_gives_each_capability_once_and_in_order(description in description()) {
        let bytes = description.encode();
        let first = u32::from_ne_bytes(bytes[12..16].try_into().unwrap());
        let found: Result<Vec<_>, _> =
            Chain::new(&bytes, FIXED, first).map(|found| Ok((found?.id, found?.version))).collect();
        let encoded: Vec<_> =
            description.items.iter().map(|item| (item.payload.id(), item.version)).collect();
        prop_assert_eq!(found, Ok::<_, ChainError>(encoded));
    }

    #[test]
    fn a_description_cut_short_is_truncated_or_lost_nothing(
        description in description(),
        cut in any::<Index>(),
    ) {
        let bytes = description.encode();
        let cut = cut.index(bytes.len() + 1);
        let parsed = RegionInfo::parse(description.info.index, &bytes[..cut]);
        if cut >= description.needed() {
            prop_assert_eq!(parsed, Ok(description.info));
        } else if let Err(ChainError::Truncated { offset, length }) = parsed {
            prop_assert_eq!(length, cut);
            prop_assert!(offset + size_of::<Area>() > cut, "byte {} is there", offset);
        } else {
            prop_assert!(false, "{:?} from {} of {} bytes", parsed, cut, bytes.len());
        }
    }

    #[test]
    fn a_repeated_sparse_list_or_type_is_refused(
        description in description(),
        again in any::<Index>(),
        place in any::<Index>(),
    ) {
        let mut description = description;
        description.info.flags |= RegionFlags::CAPS;
        let whole = |item: &&Item| matches!(item.payload, Payload::Sparse(_) | Payload::Type(_));
        if !description.items.iter().any(|item| whole(&item)) {
            let payload = Payload::Sparse(Vec::new());
            description.items.push(Item { payload, version: 1, gap: 0 });
        }
        let repeatable: Vec<_> = description.items.iter().filter(whole).cloned().collect();
        let again = again.get(&repeatable).clone();
        let id = again.payload.id();
        description.items.insert(place.index(description.items.len() + 1), again);
        let parsed = RegionInfo::parse(0, &description.encode());
        prop_assert_eq!(parsed, Err(ChainError::Repeated { id }));
    }

    /// Arbitrary bytes, and well-formed ones with bytes overwritten.
    #[test]
    fn a_chain_in_hostile_bytes_ends_after_the_first_error_and_within_the_bytes(
        bytes in hostile(),
        fixed in 0usize..80,
        first in prop_oneof![0u32..200, any::<u32>()],
    ) {
        let found: Vec<_> = Chain::new(&bytes, fixed, first).take(1000).collect();
        let sound = found.iter().filter(|found| found.is_ok()).count();
        prop_assert!(sound <= bytes.len().saturating_sub(fixed) / HEADER);
        prop_assert!(found.iter().take(sound).all(Result::is_ok), "something follows an error");
        prop_assert!(found.len() <= sound + 1);
    }

    #[test]
    fn hostile_bytes_parse_to_their_fixed_part_or_to_an_error(
        bytes in hostile(),
        index in any::<u32>(),
    ) {
        match RegionInfo::parse(index, &bytes) {
            Ok(info) => {
                let mut fixed = fixed_part(&info);
                // Fields that are not in what was parsed.
                for unread in [0..4, 8..16] {
                    fixed[unread.clone()].copy_from_slice(&bytes[unread]);
                }
                prop_assert_eq!(fixed, &bytes[..FIXED]);
                prop_assert_eq!(info.index, index);
                let areas = info.sparse.map_or(0, |areas| areas.len());
                prop_assert!(areas * size_of::<Area>() <= bytes.len() - FIXED);
            }
            Err(ChainError::Truncated { length, .. }) => prop_assert!(length <= bytes.len()),
            Err(ChainError::Backwards { from, to }) => prop_assert!(to < from + HEADER),
            Err(ChainError::Repeated { id }) => prop_assert!(id == SPARSE || id == TYPE),
            Err(other) => prop_assert!(false, "an error that is not known here: {:?}", other),
        }
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![any::<u8>(), 0u8..4, (4u8..20).prop_map(|words| words * 8)];
    let spoilt =
        (description(), vec((any::<Index>(), small), 0..6)).prop_map(|(mut whole, spots)| {
            whole.info.flags |= RegionFlags::CAPS;
            let mut bytes = whole.encode();
            for (index, byte) in spots {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    prop_oneof![vec(any::<u8>(), 0..200), spoilt]
}

/// A description whose chain starts at `first`, with capabilities `(offset, id, next, payload)`.
fn chain(length: usize, first: u32, capabilities: &[(usize, u16, u32, &[u32])]) -> Vec<u8> {
    let flags = RegionFlags::READ | RegionFlags::CAPS;
    let mut bytes = fixed_part(&RegionInfo::new(0, flags, 0x1000, 0));
    bytes[12..16].copy_from_slice(&first.to_ne_bytes());
    bytes.resize(length, 0);
    for (offset, id, next, payload) in capabilities {
        let payload = payload.iter().flat_map(|word| word.to_ne_bytes());
        let capability: Vec<u8> = header(*id, 1, *next).into_iter().chain(payload).collect();
        bytes[*offset..*offset + capability.len()].copy_from_slice(&capability);
    }
    bytes
}

fn parse(bytes: &[u8]) -> Result<RegionInfo, ChainError> {
    RegionInfo::parse(0, bytes)
}

const UNKNOWN: u16 = 99;

#[test]
fn a_chain_that_does_not_lead_forward_is_refused() {
    let back_to = |next| chain(64, 32, &[(32, UNKNOWN, 48, &[]), (48, UNKNOWN, next, &[])]);
    let cases = [
        ("a loop", back_to(32), 48, 32),
        ("to itself", back_to(48), 48, 48),
        ("into the fixed part", back_to(16), 48, 16),
        ("to the last byte of the fixed part", back_to(31), 48, 31),
        ("into its own header", back_to(55), 48, 55),
        ("between the capabilities, backwards", back_to(40), 48, 40),
        ("starts in the fixed part", chain(64, 8, &[]), 31, 8),
        ("starts at the last byte of the fixed part", chain(64, 31, &[]), 31, 31),
    ];
    for (what, bytes, from, to) in cases {
        assert_eq!(parse(&bytes), Err(ChainError::Backwards { from, to }), "{what}");
    }
    assert!(parse(&back_to(0)).is_ok());
    assert!(parse(&back_to(56)).is_ok(), "the next header may follow directly");
}

#[test]
fn a_chain_that_leaves_the_bytes_is_truncated() {
    let one = |next| chain(48, 32, &[(32, MSIX_MAPPABLE, next, &[])]);
    let cases = [
        ("next beyond the end", one(49), 49),
        ("next at the end", one(48), 48),
        ("next far away", one(u32::MAX), 0xffff_ffff),
        ("a header that the end cuts", one(42), 46),
        ("the first beyond the end", chain(48, 4096, &[]), 4096),
        ("the first at the end", chain(48, 48, &[]), 48),
        ("a first that the kernel announced and did not copy", chain(32, 32, &[]), 32),
    ];
    for (what, bytes, offset) in cases {
        let length = bytes.len();
        assert_eq!(parse(&bytes), Err(ChainError::Truncated { offset, length }), "{what}");
    }
}

#[test]
fn fewer_bytes_than_the_fixed_part_are_truncated() {
    let whole = chain(FIXED, 0, &[]);
    assert!(parse(&whole).is_ok());
    for length in 0..FIXED {
        let parsed = parse(&whole[..length]);
        assert!(
            matches!(parsed, Err(ChainError::Truncated { length: told, .. }) if told == length),
            "{length} bytes: {parsed:?}"
        );
    }
}

#[test]
fn an_area_count_that_passes_the_bytes_is_truncated_without_an_overflow() {
    // Two areas fit. 16 times the others is 16 and 0 in 32 bits.
    for count in [3, 0x1000_0001, 0x1000_0000, 0x8000_0000, u32::MAX] {
        let bytes = chain(80, 32, &[(32, SPARSE, 0, &[count])]);
        let truncated = ChainError::Truncated { offset: 80, length: 80 };
        assert_eq!(parse(&bytes), Err(truncated), "{count:#x} areas");
    }
    let bytes = chain(80, 32, &[(32, SPARSE, 0, &[2])]);
    assert_eq!(parse(&bytes).unwrap().sparse.unwrap().len(), 2);
}

#[test]
fn a_payload_does_not_reach_into_the_next_capability() {
    // 24 bytes between the headers: room for one area, not for two.
    let areas = |count| {
        let sparse: (usize, u16, u32, &[u32]) = (32, SPARSE, 64, &[count]);
        chain(96, 32, &[sparse, (64, MSIX_MAPPABLE, 0, &[])])
    };
    assert_eq!(parse(&areas(1)).unwrap().sparse.unwrap().len(), 1);
    assert_eq!(parse(&areas(2)), Err(ChainError::Truncated { offset: 64, length: 64 }));

    let half = chain(64, 32, &[(32, TYPE, 44, &[7]), (44, MSIX_MAPPABLE, 0, &[])]);
    assert_eq!(parse(&half), Err(ChainError::Truncated { offset: 44, length: 44 }));
    let count = chain(64, 32, &[(32, SPARSE, 40, &[]), (40, MSIX_MAPPABLE, 0, &[])]);
    assert_eq!(parse(&count), Err(ChainError::Truncated { offset: 40, length: 40 }));
}

#[test]
fn a_capability_without_payload_may_be_there_twice() {
    let twice = chain(48, 32, &[(32, MSIX_MAPPABLE, 40, &[]), (40, MSIX_MAPPABLE, 0, &[])]);
    assert!(parse(&twice).unwrap().msix_mappable);
}

#[test]
fn an_empty_list_of_areas_is_not_the_same_as_none() {
    let empty = chain(48, 32, &[(32, SPARSE, 0, &[0, 0])]);
    assert_eq!(parse(&empty).unwrap().sparse, Some(Vec::new()));
    assert_eq!(parse(&chain(48, 0, &[])).unwrap().sparse, None);
}

#[test]
fn a_chain_without_the_flag_is_not_followed() {
    let mut bytes = chain(48, 8, &[]);
    assert!(parse(&bytes).is_err());
    bytes[4..8].copy_from_slice(&RegionFlags::READ.bits().to_ne_bytes());
    assert_eq!(parse(&bytes), Ok(RegionInfo::new(0, RegionFlags::READ, 0x1000, 0)));
}
