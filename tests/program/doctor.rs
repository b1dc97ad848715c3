//! The diagnosis, on mock trees: nodes are links to `/dev/null` and `/dev/zero`, which anybody may
//! open, and processes are directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use vfio_sim::tree::{MdevDevice, MdevType, Parent, PciFunction, Tree};

use crate::{Ran, run};

const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
/// The device number of `/dev/null`.
const NULL: &str = "1:3";

/// A machine with one card, mtty, in group 7, on which all is well.
struct Mock {
    tree: Tree,
    proc: TempDir,
}

impl Mock {
    fn new() -> Self {
        Self::with(&MdevDevice::new(UUID, "mtty", "mtty-2").group(7))
    }

    fn with(device: &MdevDevice) -> Self {
        let tree = Tree::new().unwrap();
        let kind = MdevType::new("mtty-2", "vfio-pci").instances(12);
        tree.add_parent(&Parent::new("mtty").with_type(kind)).unwrap();
        tree.add_device(device).unwrap();
        Self::around(tree)
    }

    fn around(tree: Tree) -> Self {
        let mock = Self { tree, proc: tempfile::tempdir().unwrap() };
        symlink("1", mock.proc.path().join("self")).unwrap();
        mock.process(1, "init", &[]);
        // All capabilities, so that the limits of whoever runs this do not show.
        fs::write(mock.proc.path().join("1/status"), "CapEff:\t000001ffffffffff\n").unwrap();
        mock.node("vfio", "/dev/zero");
        if mock.tree.dev().join("vfio/7").exists() {
            mock.node("7", "/dev/null");
            mock.tree.write("class/vfio/7/dev", format!("{NULL}\n")).unwrap();
        }
        mock
    }

    fn node(&self, name: &str, stands_for: &str) {
        let node = self.tree.dev().join("vfio").join(name);
        let _ = fs::remove_file(&node);
        symlink(stands_for, node).unwrap();
    }

    fn process(&self, pid: u32, command: &str, files: &[&Path]) {
        let dir = self.proc.path().join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::write(dir.join("comm"), format!("{command}\n")).unwrap();
        for (fd, file) in files.iter().enumerate() {
            symlink(file, dir.join("fd").join(fd.to_string())).unwrap();
        }
    }

    fn path(&self, node: &str) -> String {
        self.tree.dev().join("vfio").join(node).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (sysfs, dev, proc) =
            (text(self.tree.sysfs()), text(self.tree.dev()), text(self.proc.path()));
        let roots = ["--sysfs", &sysfs, "--dev", &dev, "--proc", &proc, "doctor"];
        run(&[&roots, arguments].concat())
    }

    /// The findings of a device, after those of the machine, with the exit status checked.
    fn findings(&self, device: &str) -> Vec<Value> {
        let ran = self.run(&["--json", device]);
        assert_eq!(ran.stderr, "");
        let value: Value = serde_json::from_str(&ran.stdout).unwrap();
        let all = ["/machine", "/devices/0/findings"].map(|part| value.pointer(part).unwrap());
        let all: Vec<_> = all.iter().flat_map(|part| part.as_array().unwrap().clone()).collect();
        let works = all.iter().all(|finding| finding["severity"] != "error");
        let said = value.get("works").unwrap();
        assert_eq!((ran.status == 0, said), (works, &json!(works)), "{value}");
        all
    }

    /// The only error, as one text.
    fn error(&self, device: &str) -> String {
        let findings = self.findings(device);
        let mut errors = findings.iter().filter(|finding| finding["severity"] == "error");
        let error = errors.next().expect("an error is found");
        assert_eq!(errors.next(), None);
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} -> {}", text("subject"), text("problem"), text("remedy"))
    }
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn a_healthy_machine_exits_with_0() {
    let mock = Mock::new();
    let note = json!({
        "severity": "note", "subject": "VFIO character devices",
        "problem": "are not built into this kernel: devices open by group and container",
        "remedy": null,
    });
    assert_eq!(mock.findings(UUID), [note]);
    let ran = mock.run(&[]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_parts(&ran.stdout, &["this machine\n  note     VFIO", &format!("{UUID}: should open")]);
}

#[test]
fn software_devices_need_no_nodes() {
    let ran = run(&["--sim", "doctor"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_parts(&ran.stdout, &["are software", &format!("{UUID}: should open"), "no driver in"]);
    assert!(!ran.stdout.contains("error"), "{}", ran.stdout);
}

#[test]
fn nodes_are_missing_stale_or_no_nodes() {
    let mock = Mock::new();
    let node = mock.path("7");
    mock.tree.write("class/vfio/7/dev", "511:7\n").unwrap();
    let stale = format!("{node} is stale: it is device {NULL}, and sysfs says 511:7");
    assert_parts(&mock.error(UUID), &[&stale, "udevadm trigger"]);

    fs::remove_file(&node).unwrap();
    let missing = format!("{node} is not there, though sysfs has its group as device 511:7");
    assert_parts(&mock.error(UUID), &[&missing, &format!("pass --device {node} to the container")]);
    // A probe says the same.
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (sysfs, dev) = (text(mock.tree.sysfs()), text(mock.tree.dev()));
    let probed = run(&["--sysfs", &sysfs, "--dev", &dev, "show", UUID]);
    assert_parts(&probed.stderr, &[&format!("--device {node}"), "511:7", "No such file"]);

    fs::write(&node, "").unwrap();
    assert_parts(&mock.error(UUID), &[&node, "is not a device node", "stands for /dev"]);
    mock.node("7", "/dev/null");
    mock.tree.write("class/vfio/7/dev", NULL).unwrap();
    fs::remove_file(mock.path("vfio")).unwrap();
    assert_parts(&mock.error(UUID), &[&mock.path("vfio"), "is not there -> modprobe vfio"]);
}

#[test]
fn holders_are_named_by_pid_and_command() {
    let mock = Mock::new();
    let node = mock.tree.dev().join("vfio/7");
    mock.process(4711, "qemu-system-x86", &[Path::new("/dev/full"), &node]);
    mock.process(4712, "idle", &[Path::new("anon_inode:[vfio-device]"), &node]);
    mock.process(4713, "vague", &[Path::new("anon_inode:[vfio-device]")]);
    fs::create_dir(mock.proc.path().join("99")).unwrap();
    fs::write(mock.proc.path().join("99/fd"), "somebody else's").unwrap();
    let ran = mock.run(&[UUID]);
    assert_eq!(ran.status, 1);
    assert_parts(
        &ran.stdout,
        &[
            "error    group 7 is held by process 4711 (qemu-system-x86)",
            "group 7 is held by process 4712 (idle)",
            "may be held by process 4713 (vague)",
            "-> end that process",
            "processes of others (1) cannot be looked into",
        ],
    );
}

#[test]
fn the_members_that_are_in_the_way_are_named() {
    let mock = Mock::new();
    let tree = &mock.tree;
    let group = "kernel/iommu_groups/3";
    for (name, driver) in [
        ("0000:01:01.0", Some("vfio-pci")),
        ("0000:01:02.0", Some("e1000e")),
        ("0000:01:03.0", None),
        ("0000:01:00.0", Some("pcieport")),
        ("0000:01:04.0", Some("mlx5_vfio_pci")),
        ("0000:01:05.0", Some("nvidia")),
    ] {
        let device = format!("devices/pci0000:00/{name}");
        tree.mkdir(&device).unwrap();
        tree.link(format!("bus/pci/devices/{name}"), format!("../../../{device}")).unwrap();
        tree.link(format!("{group}/devices/{name}"), format!("../../../../{device}")).unwrap();
        tree.link(format!("{device}/iommu_group"), format!("../../../{group}")).unwrap();
        if let Some(driver) = driver {
            let target = format!("../../../bus/pci/drivers/{driver}");
            tree.link(format!("{device}/driver"), target).unwrap();
        }
    }
    // NVIDIA's driver offers virtual functions itself.
    tree.mkdir("devices/pci0000:00/0000:01:05.0/vfio-dev/vfio9").unwrap();
    tree.write("class/vfio/3/dev", NULL).unwrap();
    mock.node("3", "/dev/null");
    let error = mock.error("01:01.0");
    assert_parts(&error, &["group 3 is not viable: 0000:01:02.0 is bound to e1000e", "-> bind it"]);

    let ran = mock.run(&["0000:01:02.0"]);
    assert_parts(&ran.stdout, &["is bound to e1000e, which does not offer it", "driver_override"]);
    let ran = mock.run(&["0000:01:03.0"]);
    assert_parts(&ran.stdout, &["0000:01:03.0 is bound to no kernel driver that offers it"]);
    let ran = mock.run(&["0000:02:00.0"]);
    assert_eq!(ran.status, 1);
    assert_parts(&ran.stdout, &["0000:02:00.0 does not exist"]);

    tree.remove("devices/pci0000:00/0000:01:02.0/driver").unwrap();
    assert!(mock.findings("01:01.0").iter().all(|finding| finding["severity"] != "error"));
    let interrupts = mock.proc.path().join("interrupts");
    fs::write(&interrupts, " 8: 1 IO-APIC 8-edge rtc0\n").unwrap();
    assert_parts(
        &mock.error("01:01.0"),
        &["interrupt remapping is off", "allow_unsafe_interrupts"],
    );
    tree.write("module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n").unwrap();
    let findings = mock.findings("01:01.0");
    assert!(findings.iter().any(|finding| finding["severity"] == "warning"), "{findings:?}");
    fs::write(interrupts, " 8: 1 IR-IO-APIC 8-edge rtc0\n").unwrap();
    assert!(mock.findings("01:01.0").iter().all(|finding| finding["severity"] == "note"));

    tree.remove("devices/pci0000:00/0000:01:01.0/iommu_group").unwrap();
    assert_parts(&mock.error("01:01.0"), &["is in no IOMMU group"]);
    tree.remove("kernel/iommu_groups").unwrap();
    assert_parts(&mock.error("01:01.0"), &["the IOMMU is off", "intel_iommu=on"]);
}

#[test]
fn a_group_without_iommu_is_refused() {
    let mock = Mock::new();
    let node = mock.path("noiommu-7");
    mock.tree.remove("class/vfio/7").unwrap();
    mock.tree.write("class/vfio/noiommu-7/dev", NULL).unwrap();
    mock.node("noiommu-7", "/dev/null");
    assert_parts(&mock.error(UUID), &["group 7 has no IOMMU", "can write to all memory"]);
    fs::remove_file(&node).unwrap();
    assert_parts(&mock.run(&[UUID]).stdout, &[&node, "is not there, though sysfs has its group"]);
}

#[test]
fn little_memory_to_lock_is_a_warning() {
    let mock = Mock::new();
    fs::write(mock.proc.path().join("1/status"), "CapEff:\t0000000000000000\n").unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let ran = mock.run(&[UUID]);
    assert_eq!(ran.status, 0);
    assert_eq!(ran.stdout.contains("RLIMIT_MEMLOCK lets this"), limit.is_some(), "{}", ran.stdout);
}

#[test]
fn devices_that_are_not_whole_say_so() {
    let mock = Mock::with(&MdevDevice::new(UUID, "mtty", "mtty-2").without_driver());
    assert_parts(&mock.error(UUID), &["no kernel driver bound", "remove and create it again"]);
    let mock = Mock::with(&MdevDevice::new(UUID, "mtty", "mtty-2").without_type().group(7));
    assert_parts(&mock.error(UUID), &["is not complete", "wait a moment"]);
    let mock = Mock::new();
    let absent = "00000000-0000-0000-0000-000000000000";
    assert_parts(&mock.error(absent), &["does not exist", "bus/mdev/devices", "mdevbus list"]);
    let vgpu = MdevDevice::new(UUID, "mtty", "mtty-2").group(7).kernel_driver("intel_vgpu_mdev");
    assert_parts(&Mock::with(&vgpu).error(UUID), &["KVM", "intel_vgpu_mdev"]);
}

#[test]
fn a_virtual_function_wants_the_token_of_its_physical_function() {
    const PHYSICAL: &str = "0000:3b:00.0";
    const VIRTUAL: &str = "0000:3b:00.1";
    let tree = Tree::new().unwrap();
    let function = |address| PciFunction::new(address, 0x8086, 0x1572).vfio_driver("vfio-pci");
    tree.add_function(&function(PHYSICAL).group(8).virtual_functions(1)).unwrap();
    tree.add_function(&function(VIRTUAL).group(7).virtual_of(PHYSICAL)).unwrap();
    let mock = Mock::around(tree);
    let parts = ["0000:3b:00.1 wants the VF token of 0000:3b:00.0", "`Vfio::vf_token`"];
    assert_parts(&mock.error(VIRTUAL), &parts);
    let token = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
    let ran = mock.run(&["--vf-token", token, VIRTUAL]);
    assert!(!ran.stdout.contains("VF token"), "{}", ran.stdout);
    // The kernel checks none when a driver of the host has the physical function.
    mock.tree.bind_function(PHYSICAL, "i40e").unwrap();
    let findings = mock.findings(VIRTUAL);
    assert!(findings.iter().all(|finding| finding["severity"] != "error"), "{findings:?}");
}

#[test]
fn a_bus_that_is_missing_or_empty_says_why() {
    let mock = Mock::around(Tree::without_mdev_bus().unwrap());
    let ran = mock.run(&[]);
    assert_eq!((ran.status, ran.stderr.as_str()), (1, ""));
    assert_parts(&ran.stdout, &["bus/mdev is not there", "load the module of the vendor"]);

    let mock = Mock::around(Tree::new().unwrap());
    let functions = ["0000:3b:00.4", "0000:3b:00.5"];
    for function in functions {
        mock.tree
            .write(format!("bus/pci/devices/{function}/nvidia/current_vgpu_type"), "0")
            .unwrap();
    }
    let ran = mock.run(&[]);
    assert_eq!(ran.status, 0, "there is nothing to probe, and nothing fails");
    let parts = ["class/mdev_bus is empty", "0000:3b:00.4, 0000:3b:00.5", "current_vgpu_type"];
    assert_parts(&ran.stdout, &parts);
    let ran = run(&["--sysfs", "/no-such-sysfs", "doctor"]);
    assert_eq!(ran.status, 1);
    assert_parts(&ran.stdout, &["/no-such-sysfs cannot be read: there is no sysfs"]);
}

#[test]
fn what_others_write_cannot_spoil_the_terminal() {
    let mock = Mock::new();
    mock.process(4711, "\u{1b}[2Jevil", &[&mock.tree.dev().join("vfio/7")]);
    let ran = mock.run(&[UUID]);
    assert!(ran.stdout.contains("evil") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}
