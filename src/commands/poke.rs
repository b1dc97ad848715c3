//! `mdevbus poke`: writes a register.

use serde::Serialize;

use super::peek::{hex, region, via};
use crate::arguments::{Poke, Width};
use crate::bus::Name;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

#[derive(Debug, Serialize)]
struct Poked {
    #[serde(flatten)]
    name: Name,
    region: u32,
    offset: u64,
    width: usize,
    via: &'static str,
    value: String,
}

/// Says nothing when it went well, as is usual; with `--json` what was done.
pub(crate) fn run(session: &Session, poke: &Poke) -> Result<Report, Failure> {
    let Poke { place, value } = poke;
    // The value is looked at before the device is opened.
    let value = Value::of(*value, place.width)?;
    let region = region(session, place)?;
    let (path, offset) = (place.via.path(), place.offset);
    match value {
        Value::One(value) => region.write_via(path, offset, value),
        Value::Two(value) => region.write_via(path, offset, value),
        Value::Four(value) => region.write_via(path, offset, value),
        Value::Eight(value) => region.write_via(path, offset, value),
    }?;
    if !session.json {
        return Ok(Report::of(String::new()));
    }
    Report::json(&Poked {
        name: Name::of(&place.device),
        region: place.region,
        offset,
        width: place.width.bytes(),
        via: via(&region, place),
        value: hex(poke.value, place.width),
    })
}

/// What is written, in the width it is written with.
enum Value {
    One(u8),
    Two(u16),
    Four(u32),
    Eight(u64),
}

impl Value {
    fn of(value: u64, width: Width) -> Result<Self, Failure> {
        let fitted = match width {
            Width::One => u8::try_from(value).map(Self::One),
            Width::Two => u16::try_from(value).map(Self::Two),
            Width::Four => u32::try_from(value).map(Self::Four),
            Width::Eight => Ok(Self::Eight(value)),
        };
        fitted.map_err(|_| Failure::ValueTooWide { value, width: width.bytes() })
    }
}
