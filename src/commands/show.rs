//! `mdevbus show`: opens a device and tells what it is made of.

use serde::Serialize;
use vfio_common::device;
use vfio_common::pci_config::PciIds;
use vfio_common::region::{Area, RegionInfo};

use crate::arguments::Device;
use crate::bus::Name;
use crate::failure::Failure;
use crate::names;
use crate::report::Report;
use crate::session::Session;
use crate::table::{Table, cell};

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    name: Name,
    flags: Vec<String>,
    pci: Option<Pci>,
    regions: Vec<Region>,
    irqs: Vec<Irq>,
}

#[derive(Debug, Serialize)]
struct Pci {
    vendor: u16,
    device: u16,
    subsystem_vendor: u16,
    subsystem_device: u16,
    class: u32,
}

#[derive(Debug, Serialize)]
struct Region {
    index: u32,
    name: String,
    size: u64,
    offset: u64,
    flags: Vec<String>,
    sparse: Option<Vec<Extent>>,
    mapped: Vec<Extent>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

#[derive(Debug, Serialize)]
struct Extent {
    offset: u64,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: u32,
    subtype: u32,
}

#[derive(Debug, Serialize)]
struct Irq {
    index: u32,
    name: String,
    count: u32,
    flags: Vec<String>,
}

pub(crate) fn run(session: &Session, wanted: &Device) -> Result<Report, Failure> {
    let device = session.open(wanted)?;
    let shown = look_at(Name::of(wanted), &device)?;
    if session.json { Report::json(&shown) } else { Ok(Report::of(text(&shown))) }
}

fn look_at(name: Name, device: &device::Device) -> Result<Shown, Failure> {
    let info = device.info();
    let ids = device.pci_config()?.map(|config| config.ids()).transpose()?;
    let mut regions = Vec::new();
    for index in 0..info.num_regions {
        if device.region_info(index)?.is_none() {
            continue;
        }
        let region = device.region(index)?;
        let mapped = region.mapped().map(Extent::from).collect();
        regions.push(Region::new(names::region(info, index), region.info(), mapped));
    }
    let mut irqs = Vec::new();
    for index in 0..info.num_irqs {
        irqs.extend(device.irq_info(index)?.map(|irq| Irq {
            index,
            name: names::irq(info, index),
            count: irq.count,
            flags: names::flags(irq.flags),
        }));
    }
    Ok(Shown { name, flags: names::flags(info.flags), pci: ids.map(Pci::from), regions, irqs })
}

impl From<PciIds> for Pci {
    fn from(ids: PciIds) -> Self {
        Self {
            vendor: ids.vendor,
            device: ids.device,
            subsystem_vendor: ids.subsystem_vendor,
            subsystem_device: ids.subsystem_device,
            class: ids.class,
        }
    }
}

impl Region {
    fn new(name: String, info: &RegionInfo, mapped: Vec<Extent>) -> Self {
        let extents = |areas: &Vec<Area>| areas.iter().copied().map(Extent::from).collect();
        Self {
            index: info.index,
            name,
            size: info.size,
            offset: info.offset,
            flags: names::flags(info.flags),
            sparse: info.sparse.as_ref().map(extents),
            mapped,
            kind: info.kind.map(|kind| Kind { kind: kind.kind, subtype: kind.subtype }),
        }
    }
}

impl From<Area> for Extent {
    fn from(Area { offset, size }: Area) -> Self {
        Self { offset, size }
    }
}

fn text(shown: &Shown) -> String {
    let mut text = format!("{}  {}\n", shown.name, shown.flags.join(" "));
    if let Some(pci) = &shown.pci {
        text.push_str(&format!(
            "PCI {:04x}:{:04x}, subsystem {:04x}:{:04x}, class {:06x}\n",
            pci.vendor, pci.device, pci.subsystem_vendor, pci.subsystem_device, pci.class
        ));
    }
    let mut regions = Table::new(["region", "name", "size", "flags", "sparse", "mapped", "type"]);
    for region in &shown.regions {
        let whole = matches!(region.mapped.as_slice(),
            [only] if only.offset == 0 && only.size == region.size);
        regions.row([
            region.index.to_string(),
            region.name.clone(),
            format!("{:#x}", region.size),
            region.flags.join(" "),
            cell(region.sparse.as_deref().map(extents)),
            if whole { "whole".into() } else { extents(&region.mapped) },
            cell(region.kind.as_ref().map(|kind| format!("{:#x}/{}", kind.kind, kind.subtype))),
        ]);
    }
    let mut irqs = Table::new(["irq", "name", "count", "flags"]);
    for irq in &shown.irqs {
        let (index, count) = (irq.index.to_string(), irq.count.to_string());
        irqs.row([index, irq.name.clone(), count, irq.flags.join(" ")]);
    }
    let none = |what: &str| format!("\nThe device has no {what}.\n");
    let section = |table: &Table| format!("\n{}", table.render());
    text.push_str(&match shown.regions.is_empty() {
        true => none("regions"),
        false => section(&regions),
    });
    text.push_str(&match shown.irqs.is_empty() {
        true => none("interrupts"),
        false => section(&irqs),
    });
    text
}

fn extents(extents: &[Extent]) -> String {
    if extents.is_empty() {
        return "none".into();
    }
    let each = extents.iter().map(|extent| format!("{:#x}+{:#x}", extent.offset, extent.size));
    each.collect::<Vec<_>>().join(" ")
}
