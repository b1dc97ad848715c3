//! Finding the devices of a bus: a difference to what is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::BusType;
use crate::sysfs::{Dir, Host, SysfsError};

/// What a scan found out, as a difference to the scan before. Each list is sorted.
#[derive(Debug)]
pub struct ScanReport<B: BusType> {
    /// Whether the bus is there. A kernel without it has no devices of this kind, which is no error.
    pub bus_present: bool,
    /// Devices that were not known.
    pub added: Vec<B::Address>,
    /// Devices that are gone.
    pub removed: Vec<B::Address>,
    /// Devices that were removed and created again under the same address, that were incomplete, and
    /// those that can be opened now and could not before, or the other way round.
    pub changed: Vec<B::Address>,
    /// Devices whose entries could not be read. They are not known to the bus.
    pub failed: Vec<(B::Address, SysfsError)>,
    /// Entries that are not addresses of this bus.
    pub ignored: Vec<String>,
    /// Number of devices that vanished while they were read.
    pub vanished: usize,
}

/// The devices that are known.
#[derive(Debug)]
pub(super) struct Known<B: BusType> {
    pub(super) devices: BTreeMap<B::Address, KnownDevice<B>>,
}

#[derive(Debug)]
pub(super) struct KnownDevice<B: BusType> {
    pub(super) info: Arc<B::Info>,
    /// Number of the entry in the bus's directory: another number under the same name is another
    /// device.
    pub(super) inode: u64,
}

impl<B: BusType> Clone for KnownDevice<B> {
    fn clone(&self) -> Self {
        Self { info: self.info.clone(), inode: self.inode }
    }
}

impl<B: BusType> Default for Known<B> {
    fn default() -> Self {
        Self { devices: BTreeMap::new() }
    }
}

impl<B: BusType> Known<B> {
    /// Compares what is known with what sysfs shows. One listing, and of a device that is known only
    /// what [`BusType::is_current`] looks at.
    pub(super) fn scan(&mut self, host: &Host) -> Result<ScanReport<B>, SysfsError> {
        let mut report = ScanReport {
            bus_present: false,
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            failed: Vec::new(),
            ignored: Vec::new(),
            vanished: 0,
        };
        let listed = match host.sysfs_dir(B::DEVICES)? {
            Some(dir) => Some((dir.entries()?, dir)),
            None => None,
        };
        // Nothing fails from here on.
        let mut before = std::mem::take(&mut self.devices);
        if let Some((entries, dir)) = listed {
            report.bus_present = true;
            let mut scanner = B::Scanner::default();
            for entry in entries {
                let Some(address) = B::address(&entry.name) else {
                    report.ignored.push(entry.name.to_string_lossy().into_owned());
                    continue;
                };
                let known = before.remove(&address);
                let known = match known {
                    Some(known)
                        if known.inode == entry.inode
                            && B::is_current(&mut scanner, &dir, &address, &known.info) =>
                    {
                        self.devices.insert(address, known);
                        continue;
                    }
                    known => known,
                };
                match B::identify(&mut scanner, &dir, &address) {
                    Ok(Some(info)) => {
                        let list = match &known {
                            None => Some(&mut report.added),
                            // The same device, as usable or unusable as it was.
                            Some(known)
                                if known.inode == entry.inode
                                    && B::fault(&known.info).is_some()
                                        == B::fault(&info).is_some() =>
                            {
                                None
                            }
                            Some(_) => Some(&mut report.changed),
                        };
                        list.into_iter().for_each(|list| list.push(address.clone()));
                        let info = Arc::new(info);
                        self.devices.insert(address, KnownDevice { info, inode: entry.inode });
                    }
                    Ok(None) => {
                        report.vanished = report.vanished.saturating_add(1);
                        report.removed.extend(known.map(|_| address));
                    }
                    Err(error) => {
                        report.removed.extend(known.map(|_| address.clone()));
                        report.failed.push((address, error));
                    }
                }
            }
        }
        report.removed.extend(before.into_keys());
        report.sort();
        Ok(report)
    }

    /// Whether a device is there, is the one with this entry, and can be opened.
    pub(super) fn is_usable(&self, address: &B::Address, inode: u64) -> bool {
        let known = self.devices.get(address);
        self.has_usable(address) && known.is_some_and(|known| known.inode == inode)
    }

    /// Whether a device is there and can be opened.
    pub(super) fn has_usable(&self, address: &B::Address) -> bool {
        self.devices.get(address).is_some_and(|known| B::fault(&known.info).is_none())
    }

    /// Reads one device anew, without a listing. `None`: it is not there.
    pub(super) fn plug(
        &mut self,
        host: &Host,
        address: &B::Address,
    ) -> Result<Option<KnownDevice<B>>, SysfsError> {
        let found = match host.sysfs_dir(B::DEVICES)? {
            Some(dir) => identify_one::<B>(&dir, address)?,
            None => None,
        };
        let Some((info, inode)) = found else {
            self.devices.remove(address);
            return Ok(None);
        };
        let known = KnownDevice { info: Arc::new(info), inode };
        self.devices.insert(address.clone(), known.clone());
        Ok(Some(known))
    }
}

fn identify_one<B: BusType>(
    dir: &Dir,
    address: &B::Address,
) -> Result<Option<(B::Info, u64)>, SysfsError> {
    let name = address.to_string();
    let Some(inode) = dir.inode(Path::new(&name))? else { return Ok(None) };
    let info = B::identify(&mut B::Scanner::default(), dir, address)?;
    Ok(info.map(|info| (info, inode)))
}

impl<B: BusType> ScanReport<B> {
    fn sort(&mut self) {
        self.added.sort_unstable();
        self.removed.sort_unstable();
        self.changed.sort_unstable();
        self.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.ignored.sort_unstable();
    }
}
