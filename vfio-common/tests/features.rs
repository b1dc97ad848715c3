//! Features whose data is a number: what the kernel driver is given, and what it refuses.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::io;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use vfio_common::device::{
    Device, DeviceFlags, DeviceInfo, Feature, FeatureError, FeatureUse, PciAtomics,
};
use vfio_sim::SoftDevice;
use vfio_sim::model::{Board, Layout, Model, RegionModel};

/// The flags and the data of each call.
type Calls = Vec<(u32, Vec<u8>)>;

/// A device on AMD's CDX bus.
#[derive(Debug, Default)]
struct Cdx {
    asked: Arc<Mutex<Calls>>,
}

const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

impl Model for Cdx {
    fn layout(&self) -> Layout {
        Layout::packed([RegionModel::registers(0, 8)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        let info = DeviceInfo::new(DeviceFlags::CDX, 1, 0);
        Ok(DeviceInfo { pci_atomics: PciAtomics::WIDTH_64, ..info })
    }

    fn feature(&mut self, _: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let mut asked = self.asked.lock().unwrap();
        asked.push((flags, data.to_vec()));
        match asked.len() {
            4.. => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_cdx_device_is_told_to_do_dma_and_to_stop() {
    let cdx = Cdx::default();
    let asked = cdx.asked.clone();
    let device = Device::new("cdx", Arc::new(SoftDevice::new(cdx).unwrap())).unwrap();
    assert_eq!(device.info().pci_atomics, PciAtomics::WIDTH_64);
    assert!(device.has_feature(Feature::BUS_MASTER, FeatureUse::Set).unwrap());
    device.set_bus_master(true).unwrap();
    device.set_bus_master(false).unwrap();
    let number = 10;
    let expected = [
        (number | SET | PROBE, vec![]),
        (number | SET, 1u32.to_ne_bytes().to_vec()),
        (number | SET, 0u32.to_ne_bytes().to_vec()),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
    let error = device.set_bus_master(true).unwrap_err();
    assert!(matches!(error, FeatureError::Failed { .. }), "{error}");
    assert_eq!(error.to_string(), "cannot set the feature `bus mastering` of cdx");
}
