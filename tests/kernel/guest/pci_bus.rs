//! The PCI bus agrees with sysfs, for every function of the guest, virtual ones too.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pci_bus::{Address, Bus, Driver, PciId, PciInfo, ProbeDevice, ProbeError, Sriov};
use serde_json::json;

use crate::machine::{self, attribute, link_name};
use crate::vfio_pci::{Bound, Split, directory};

/// QEMU's nvme with virtual functions.
const WHOLE: &str = "0000:02:00.0";
const TEST_DEVICE: &str = "0000:00:09.0";

fn listed() -> Vec<Address> {
    let entries = fs::read_dir("/sys/bus/pci/devices").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut listed: Vec<Address> = names.map(|name| name.parse().unwrap()).collect();
    listed.sort_unstable();
    listed
}

fn agrees_with_sysfs(info: &PciInfo) {
    let path = directory(info.address);
    let text = |name: &str| attribute(path.join(name));
    let hex = |name: &str| u32::from_str_radix(text(name).strip_prefix("0x").unwrap(), 16).unwrap();
    let link = |name: &str| path.join(name).exists().then(|| link_name(path.join(name)));
    let number = |name: &str| fs::read_to_string(path.join(name)).ok()?.trim().parse::<u32>().ok();

    let ids = info.ids().unwrap();
    assert_eq!(u32::from(ids.vendor), hex("vendor"), "{info:?}");
    assert_eq!(u32::from(ids.device), hex("device"));
    assert_eq!(u32::from(ids.subsystem_vendor), hex("subsystem_vendor"));
    assert_eq!(u32::from(ids.subsystem_device), hex("subsystem_device"));
    assert_eq!(ids.class, hex("class"));
    assert_eq!(u32::from(ids.revision), hex("revision"));
    assert!(info.subsystem_vendor.is_some() && info.revision.is_some());
    assert_eq!(info.numa_node, number("numa_node"));
    assert_eq!(info.iommu_group, link("iommu_group").map(|group| group.parse().unwrap()));
    assert_eq!(info.kernel_driver, link("driver"));
    assert_eq!(info.offered, path.join("vfio-dev").exists());
    let driver_override = text("driver_override");
    assert_eq!(info.driver_override.as_deref().unwrap_or("(null)"), driver_override);
    let expected = match (link("physfn"), number("sriov_totalvfs")) {
        (Some(physical), _) => Some(Sriov::Virtual { physical: physical.parse().unwrap() }),
        (None, Some(total)) => {
            Some(Sriov::Physical { total, current: number("sriov_numvfs").unwrap() })
        }
        (None, None) => None,
    };
    assert_eq!(info.sriov, expected);
}

#[test]
fn a_scan_finds_every_function_as_sysfs_shows_it() {
    let bus = Bus::builder().build().unwrap();
    let report = bus.scan().unwrap();
    assert!(report.failed.is_empty() && report.ignored.is_empty(), "{report:?}");
    assert_eq!(report.added, listed());
    assert!(report.added.contains(&WHOLE.parse().unwrap()));
    bus.devices().iter().for_each(|info| agrees_with_sysfs(info));

    let split = Split::of(WHOLE);
    let report = bus.scan().unwrap();
    assert_eq!(report.added.len(), 2, "{report:?}");
    assert!(report.removed.is_empty() && report.changed.is_empty(), "{report:?}");
    let devices = bus.devices();
    let addresses: Vec<_> = devices.iter().map(|info| info.address).collect();
    assert_eq!(addresses, listed());
    devices.iter().for_each(|info| agrees_with_sysfs(info));
    let parts = devices
        .iter()
        .filter(|info| info.sriov == Some(Sriov::Virtual { physical: WHOLE.parse().unwrap() }));
    assert_eq!(parts.count(), 2);
    drop(split);
    assert_eq!(bus.scan().unwrap().removed.len(), 2);
    bus.devices().iter().for_each(|info| agrees_with_sysfs(info));
}

/// What `lspci` says of a function, by its names.
fn lspci() -> BTreeMap<Address, BTreeMap<String, String>> {
    let output = Command::new("lspci").args(["-D", "-n", "-k", "-vmm"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let functions = text.trim().split("\n\n").map(|function| {
        let lines = function.lines().map(|line| line.split_once(":\t").unwrap());
        let mut said: BTreeMap<_, _> =
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // Which of these it leaves out when they are 0 depends on its version.
        for name in ["Rev", "ProgIf"] {
            said.entry(name.to_owned()).or_insert_with(|| "00".to_owned());
        }
        (said.remove("Slot").unwrap().parse().unwrap(), said)
    });
    functions.collect()
}

#[test]
fn a_scan_agrees_with_lspci() {
    let _split = Split::of(WHOLE);
    let bus = Bus::builder().build().unwrap();
    bus.scan().unwrap();
    let ours = bus.devices().into_iter().map(|info| {
        let ids = info.ids().unwrap();
        let (base, interface) = (ids.class >> 8, ids.class & 0xff);
        let mut said = BTreeMap::from([
            ("Class", format!("{base:04x}")),
            ("Vendor", format!("{:04x}", ids.vendor)),
            ("Device", format!("{:04x}", ids.device)),
            ("Rev", format!("{:02x}", ids.revision)),
            ("ProgIf", format!("{interface:02x}")),
        ]);
        if (ids.subsystem_vendor, ids.subsystem_device) != (0, 0) {
            said.insert("SVendor", format!("{:04x}", ids.subsystem_vendor));
            said.insert("SDevice", format!("{:04x}", ids.subsystem_device));
        }
        let numbers = [("NUMANode", info.numa_node), ("IOMMUGroup", info.iommu_group)];
        said.extend(
            numbers.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))),
        );
        said.extend(info.kernel_driver.iter().map(|driver| ("Driver", driver.clone())));
        let said = said.into_iter().map(|(name, value)| (name.to_owned(), value));
        (info.address, said.collect())
    });
    assert_eq!(ours.collect::<BTreeMap<_, BTreeMap<_, _>>>(), lspci());
}

#[test]
fn the_program_lists_and_shows_functions_and_leaves_those_of_the_host_alone() {
    let rows = machine::json(&["pci", "list"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), listed().len());
    let row = |address: &str| rows.iter().find(|row| row["address"] == address).unwrap();
    assert_eq!(row(WHOLE)["sriov"], json!({"total": 2, "current": 0}));
    let nvme = row("0000:00:06.0");
    assert_eq!((&nvme["kernel_driver"], &nvme["offered"]), (&json!("nvme"), &json!(false)));

    let bound: Vec<_> =
        listed().into_iter().map(|a| directory(a).join("driver").exists()).collect();
    machine::json(&["pci", "probe"]);
    let after: Vec<_> =
        listed().into_iter().map(|a| directory(a).join("driver").exists()).collect();
    assert_eq!(bound, after);
    let error = machine::complaint(&["pci", "show", "0000:00:06.0"]);
    let expected =
        "0000:00:06.0 is bound to nvme, a kernel driver of the host: bind it to vfio-pci";
    assert!(error.starts_with(expected), "{error}");

    let _offered = Bound::new(TEST_DEVICE);
    let shown = machine::json(&["pci", "show", TEST_DEVICE]);
    assert_eq!((&shown["address"], &shown["pci"]["device"]), (&json!(TEST_DEVICE), &json!(5)));
    let peeked = machine::json(&["peek", TEST_DEVICE, "7", "0", "--width", "2"]);
    assert_eq!((&peeked["address"], &peeked["values"]), (&json!(TEST_DEVICE), &json!(["0x1b36"])));
}

/// Takes the test device.
struct Idle;

impl Driver for Idle {
    type IdInfo = ();
    const NAME: &'static str = "idle";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(0x1b36, 0x0005), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self)
    }
}

#[test]
fn a_function_that_is_taken_from_vfio_pci_is_let_go_by_a_scan() {
    const LONG: Duration = Duration::from_secs(20);
    let _offered = Bound::new(TEST_DEVICE);
    let address = TEST_DEVICE.parse().unwrap();
    let bus = Bus::builder().opener(Arc::new(machine::vfio())).without_registered();
    let bus = bus.driver::<Idle>().build().unwrap();
    bus.scan().unwrap();
    assert_eq!(bus.probe().bound(), 1);

    let driver = directory(address).join("driver");
    let unbind = driver.join("unbind");
    let (done, unbound) = mpsc::channel();
    thread::spawn(move || done.send(fs::write(unbind, TEST_DEVICE)));
    let started = Instant::now();
    while driver.exists() {
        assert!(started.elapsed() < LONG, "the kernel does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(unbound.try_recv().is_err(), "it waits");
    // The kernel holds the function's lock meanwhile: nothing that a scan reads may need it.
    while bus.bound() == [address] {
        assert!(started.elapsed() < LONG, "no scan sees it");
        bus.scan().unwrap();
    }
    unbound.recv_timeout(LONG).unwrap().unwrap();
}
