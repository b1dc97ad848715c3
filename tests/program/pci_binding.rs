//! `mdevbus pci`, as far as it goes without a kernel that acts on what is written.

use std::fs;

use serde_json::json;
use vfio_sim::tree::Tree;

use crate::{Ran, run};

const DISK: &str = "0000:3b:00.0";

/// A machine with a disk on nvme.
struct Mock {
    tree: Tree,
    root: tempfile::TempDir,
}

impl Mock {
    fn new() -> Self {
        let mock = Self { tree: Tree::new().unwrap(), root: tempfile::tempdir().unwrap() };
        let device = format!("devices/pci0000:00/{DISK}");
        mock.tree.link(format!("bus/pci/devices/{DISK}"), format!("../../../{device}")).unwrap();
        mock.tree.write(format!("{device}/class"), "0x010802\n").unwrap();
        mock.tree.write(format!("{device}/driver_override"), "(null)\n").unwrap();
        mock.tree.link(format!("{device}/driver"), "../../../bus/pci/drivers/nvme").unwrap();
        mock.tree.mkdir("bus/pci/drivers/nvme").unwrap();
        let boot = mock.root.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&boot).unwrap();
        fs::write(boot.join("boot_id"), "0b9b2a9c-5ad5-4a4b-8ff1-6a2f2a8f6f10\n").unwrap();
        mock
    }

    fn pci(&self, arguments: &[&str]) -> Ran {
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let roots = [self.tree.sysfs(), self.tree.dev(), &self.root.path().join("proc")].map(text);
        let [sysfs, dev, proc] = roots.each_ref().map(String::as_str);
        let roots = ["--sysfs", sysfs, "--dev", dev, "--proc", proc, "pci"];
        let state = text(&self.root.path().join("state"));
        run(&[roots.as_slice(), arguments, &["--state-dir", &state]].concat())
    }
}

#[test]
fn a_driver_that_is_not_loaded_is_to_be_loaded() {
    let mock = Mock::new();
    let ran = mock.pci(&["bind", "3b:00.0"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("modprobe vfio-pci"), "{}", ran.stderr);
    let ran = mock.pci(&["bind", "3b:00.0", "--driver", "nvme/../x"]);
    assert!(ran.stderr.contains("is no name of a driver"), "{}", ran.stderr);
}

#[test]
fn json_has_a_row_a_function_whatever_became_of_it() {
    let mock = Mock::new();
    mock.tree.write("bus/pci/drivers/vfio-pci/bind", "").unwrap();
    let ran = mock.pci(&["bind", "--json", DISK, "0000:3b:00.1", "3b:00.0"]);
    assert_eq!(ran.status, 1);
    let rows: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let error = rows[0]["error"].as_str().unwrap();
    assert!(error.contains("is in no IOMMU group: the IOMMU is off"), "{error}");
    assert_eq!((&rows[1]["address"], &rows[1]["before"]), (&json!("0000:3b:00.1"), &json!(null)));
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
}

#[test]
fn nothing_is_restored_where_nothing_is_recorded() {
    let mock = Mock::new();
    let ran = mock.pci(&["restore"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("Nothing to restore"), "{}", ran.stdout);
    assert_eq!(mock.pci(&["restore", "--json"]).stdout, "[]\n");
    assert!(!mock.root.path().join("state").exists());
    let ran = mock.pci(&["restore", DISK]);
    assert_eq!(ran.stdout, format!("{DISK}: nvme (nothing was changed that could be restored)\n"));
}

#[test]
fn a_damaged_record_is_named_and_the_rest_is_restored() {
    let mock = Mock::new();
    let state = mock.root.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("pci-0000:3b:00.1.json"), "{").unwrap();
    // Of a start of the machine that is over.
    let record = json!({
        "version": 1, "address": DISK, "boot": "another", "identity": {},
        "origin": {"driver": "nvme", "driver_override": null}, "drivers": ["vfio-pci"],
    });
    fs::write(state.join(format!("pci-{DISK}.json")), record.to_string()).unwrap();
    let ran = mock.pci(&["restore"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("from before the machine started: dropped"), "{}", ran.stdout);
    assert!(ran.stderr.contains("pci-0000:3b:00.1.json is damaged"), "{}", ran.stderr);
    assert!(!state.join(format!("pci-{DISK}.json")).exists());
}
