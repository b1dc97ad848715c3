//! `mdevbus peek`: reads registers.

use serde::Serialize;
use vfio_common::region::{Path, Region, RegionError};

use crate::arguments::{Peek, Place, Via, Width};
use crate::bus::Name;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

#[derive(Debug, Serialize)]
struct Peeked {
    #[serde(flatten)]
    name: Name,
    region: u32,
    offset: u64,
    width: usize,
    via: &'static str,
    values: Vec<String>,
}

/// Bytes on one line of the output.
const LINE: u64 = 16;

pub(crate) fn run(session: &Session, peek: &Peek) -> Result<Report, Failure> {
    let place = &peek.place;
    let region = region(session, place)?;
    let width = place.width.bytes();
    let length = peek.count.checked_mul(width as u64);
    let end = length.and_then(|length| place.offset.checked_add(length));
    if end.is_none_or(|end| end > region.size()) {
        return Err(out_of_range(place, &region, length.unwrap_or(u64::MAX)).into());
    }
    let mut values = Vec::new();
    for at in (0..peek.count).map(|index| index.saturating_mul(width as u64)) {
        values.push(read(&region, place, place.offset.saturating_add(at))?);
    }
    let digits = width.saturating_mul(2);
    let hex = values.iter().map(|value| hex(*value, place.width));
    if session.json {
        return Report::json(&Peeked {
            name: Name::of(&place.device),
            region: place.region,
            offset: place.offset,
            width,
            via: via(&region, place),
            values: hex.collect(),
        });
    }
    if peek.count == 1 {
        return Ok(Report::of(hex.map(|value| value + "\n").collect()));
    }
    let mut text = String::new();
    let per_line = usize::try_from(LINE).unwrap_or(1) / width;
    for (line, values) in values.chunks(per_line).enumerate() {
        let at = place.offset.saturating_add((line as u64).saturating_mul(LINE));
        text.push_str(&format!("{at:#010x}:"));
        for value in values {
            text.push_str(&format!(" {value:0digits$x}"));
        }
        text.push('\n');
    }
    Ok(Report::of(text))
}

/// A value with as many digits as its width has.
pub(super) fn hex(value: u64, width: Width) -> String {
    format!("{value:#0length$x}", length = width.bytes().saturating_mul(2).saturating_add(2))
}

/// The region that a place is in; it keeps the device open.
pub(super) fn region(session: &Session, place: &Place) -> Result<Region, Failure> {
    Ok(session.open(&place.device)?.region(place.region)?)
}

fn out_of_range(place: &Place, region: &Region, length: u64) -> RegionError {
    RegionError::OutOfRange {
        device: Name::of(&place.device).as_str().into(),
        index: place.region,
        offset: place.offset,
        length,
        size: region.size(),
    }
}

fn read(region: &Region, place: &Place, offset: u64) -> Result<u64, RegionError> {
    let path = place.via.path();
    match place.width {
        Width::One => region.read_via::<u8>(path, offset).map(u64::from),
        Width::Two => region.read_via::<u16>(path, offset).map(u64::from),
        Width::Four => region.read_via::<u32>(path, offset).map(u64::from),
        Width::Eight => region.read_via::<u64>(path, offset),
    }
}

/// The way that the first access took.
pub(super) fn via(region: &Region, place: &Place) -> &'static str {
    let end = place.offset.saturating_add(place.width.bytes() as u64);
    match place.via {
        Via::Trapped => "trapped",
        Via::Mapped => "mapped",
        Via::Auto if region.is_mapped(place.offset..end) => "mapped",
        Via::Auto => "trapped",
    }
}

impl Via {
    pub(super) fn path(self) -> Path {
        match self {
            Self::Auto => Path::Auto,
            Self::Mapped => Path::Mapped,
            Self::Trapped => Path::Trapped,
        }
    }
}

impl Width {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}
