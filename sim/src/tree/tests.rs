use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::io::Errno;

use super::*;

const MISSING: Option<i32> = Some(Errno::NOENT.raw_os_error());
const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

fn mtty() -> Tree {
    let tree = Tree::new().unwrap();
    let parent = Parent::new("mtty")
        .with_type(MdevType::new("mtty-1", "vfio-pci").name("Single port serial").instances(24))
        .with_type(MdevType::new("mtty-2", "vfio-pci").name("Dual port serial").instances(12));
    tree.add_parent(&parent).unwrap();
    tree
}

fn errno(result: Result<(), TreeError>) -> Option<i32> {
    result.unwrap_err().io_error().raw_os_error()
}

/// Every entry below the root of sysfs: links with their target, attributes with their text.
fn listing(tree: &Tree) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if let Ok(target) = fs::read_link(&path) {
                found.push(format!("{name} -> {}", target.display()));
                assert!(path.exists(), "{name} dangles");
            } else if path.is_dir() {
                walk(root, &path, found);
            } else if path.metadata().unwrap().permissions().mode() & 0o400 == 0 {
                found.push(format!("{name}: write-only"));
            } else {
                found.push(format!("{name}: {:?}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(tree.sysfs(), tree.sysfs(), &mut found);
    found.sort();
    found
}

#[test]
fn a_device_is_laid_out_as_by_the_kernel() {
    let tree = mtty();
    tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2").with_cdev(510, 3)).unwrap();
    let found = listing(&tree);
    let device = format!("devices/virtual/mtty/mtty/{UUID}");
    for expected in [
        format!("bus/mdev/devices/{UUID} -> ../../../{device}"),
        format!("bus/mdev/drivers/mtty/{UUID} -> ../../../../{device}"),
        "class/mdev_bus/mtty -> ../../devices/virtual/mtty/mtty".to_owned(),
        "class/mtty/mtty -> ../../devices/virtual/mtty/mtty".to_owned(),
        "class/vfio/0 -> ../../devices/virtual/vfio/0".to_owned(),
        format!("class/vfio-dev/vfio0 -> ../../{device}/vfio-dev/vfio0"),
        "devices/virtual/vfio/0/dev: \"511:0\\n\"".to_owned(),
        format!("{device}/driver -> ../../../../../bus/mdev/drivers/mtty"),
        format!("{device}/iommu_group -> ../../../../../kernel/iommu_groups/0"),
        format!("{device}/mdev_type -> ../mdev_supported_types/mtty-2"),
        format!("{device}/subsystem -> ../../../../../bus/mdev"),
        format!("{device}/uevent: \"DRIVER=mtty\\n\""),
        format!("{device}/remove: write-only"),
        format!("{device}/vfio-dev/vfio0/dev: \"510:3\\n\""),
        format!("{device}/vfio-dev/vfio0/device -> ../../../{UUID}"),
        "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/available_instances: \"12\\n\""
            .into(),
        "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/device_api: \"vfio-pci\\n\"".into(),
        "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/name: \"Dual port serial\\n\""
            .into(),
        format!(
            "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/devices/{UUID} -> ../../../{UUID}"
        ),
        format!("kernel/iommu_groups/0/devices/{UUID} -> ../../../../{device}"),
        "kernel/iommu_groups/0/name: \"vfio-noiommu\\n\"".to_owned(),
        "kernel/iommu_groups/0/type: \"unknown\\n\"".to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected} is not in {found:#?}");
    }
    for node in ["vfio/vfio", "vfio/0", "vfio/devices/vfio0"] {
        assert!(tree.dev().join(node).is_file(), "{node}");
    }
    assert!(!found.iter().any(|line| line.contains("description")), "mtty has none");
}

#[test]
fn removal_leaves_nothing_and_takes_the_type_and_the_bus_entry_first() {
    let tree = mtty();
    let before = listing(&tree);
    tree.mkdir("bus/mdev/drivers/mtty").unwrap();
    let device = tree.sysfs().join("devices/virtual/mtty/mtty").join(UUID);
    tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2")).unwrap();

    tree.begin_removal(UUID).unwrap();
    let left: Vec<_> = fs::read_dir(&device).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["iommu_group"]);
    assert!(!tree.sysfs().join("bus/mdev/devices").join(UUID).exists());
    assert!(tree.dev().join("vfio/0").exists());
    assert_eq!(errno(tree.begin_removal(UUID)), MISSING);

    tree.finish_removal(UUID).unwrap();
    assert_eq!(listing(&tree), before);
    assert!(!tree.dev().join("vfio/0").exists());
    assert_eq!(errno(tree.remove_device(UUID)), MISSING);
}

#[test]
fn a_device_made_again_has_its_old_group_number_and_a_new_inode() {
    let tree = mtty();
    let devices = tree.host().sysfs_dir("bus/mdev/devices").unwrap().unwrap();
    let mut inodes = std::collections::BTreeSet::new();
    for _ in 0..100 {
        tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-1")).unwrap();
        let group = devices.link_name(format!("{UUID}/iommu_group")).unwrap();
        assert_eq!(group.as_deref(), Some("0"));
        assert!(inodes.insert(devices.inode(UUID).unwrap()), "an inode number came again");
        tree.remove_device(UUID).unwrap();
    }
}

#[test]
fn incomplete_devices() {
    let tree = mtty();
    let dir = |uuid: &str| tree.sysfs().join("bus/mdev/devices").join(uuid);
    tree.add_device(&MdevDevice::new("a", "mtty", "mtty-1").without_driver()).unwrap();
    tree.add_device(&MdevDevice::new("b", "mtty", "mtty-1").without_type()).unwrap();
    tree.add_device(&MdevDevice::new("c", "mtty", "mtty-1").without_group()).unwrap();
    let have = |uuid, name| dir(uuid).join(name).exists();
    for (uuid, names) in [
        ("a", ["mdev_type"].as_slice()),
        ("b", &["driver", "iommu_group", "vfio-dev"]),
        ("c", &["driver", "mdev_type", "vfio-dev"]),
    ] {
        for name in ["driver", "iommu_group", "mdev_type", "vfio-dev"] {
            assert_eq!(have(uuid, name), names.contains(&name), "{name} of {uuid}");
        }
    }
    listing(&tree);
    for uuid in ["a", "b", "c"] {
        tree.remove_device(uuid).unwrap();
    }
}

#[test]
fn devices_can_share_a_group() {
    let tree = mtty();
    for uuid in ["a", "b"] {
        tree.add_device(&MdevDevice::new(uuid, "mtty", "mtty-1").group(12)).unwrap();
    }
    tree.remove_device("a").unwrap();
    assert!(tree.sysfs().join("kernel/iommu_groups/12/devices/b").exists());
    tree.remove_device("b").unwrap();
    assert!(!tree.sysfs().join("kernel/iommu_groups/12").exists());
}

#[test]
fn what_is_not_there_and_what_is_there_twice_are_errors() {
    let tree = mtty();
    let device = MdevDevice::new(UUID, "mtty", "mtty-2");
    tree.add_device(&device).unwrap();
    let exists = Some(Errno::EXIST.raw_os_error());
    assert_eq!(errno(tree.add_device(&device)), exists);
    assert_eq!(errno(tree.add_parent(&Parent::new("mtty"))), exists);
    for lost in [MdevDevice::new("a", "mdpy", "mdpy-vga"), MdevDevice::new("a", "mtty", "mtty-3")] {
        let error = tree.add_device(&lost).unwrap_err();
        assert_eq!(error.io_error().raw_os_error(), MISSING);
        assert!(error.to_string().starts_with("cannot open "), "{error}");
    }
    assert!(
        !listing(&tree).iter().any(|line| line.contains("/a ") || line.contains("/a/")),
        "nothing is left of a failure"
    );
}

#[test]
fn a_machine_without_the_bus_gets_it_with_its_first_parent() {
    let tree = Tree::without_mdev_bus().unwrap();
    assert!(tree.host().sysfs_dir("bus/mdev/devices").unwrap().is_none());
    tree.add_parent(&Parent::new("matrix").below("vfio_ap")).unwrap();
    assert!(tree.sysfs().join("class/mdev_bus/matrix/mdev_supported_types").exists());
    assert!(tree.sysfs().join("devices/vfio_ap/matrix").exists());
    assert!(tree.host().sysfs_dir("bus/mdev/devices").unwrap().is_some());
}

#[test]
fn anything_can_be_put_in_by_hand() {
    let tree = mtty();
    tree.link("bus/mdev/devices/not-a-uuid", "../nowhere").unwrap();
    tree.write("class/mdev_bus/mtty/numa_node", b"\xff\x00").unwrap();
    let read = fs::read(tree.sysfs().join("devices/virtual/mtty/mtty/numa_node")).unwrap();
    assert_eq!(read, b"\xff\x00");
    let instances = "class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances";
    tree.write(instances, "many\n").unwrap();
    assert_eq!(fs::read_to_string(tree.sysfs().join(instances)).unwrap(), "many\n");
    tree.remove("bus/mdev/devices/not-a-uuid").unwrap();
    tree.remove("bus/mdev/devices/not-a-uuid").unwrap();
    tree.remove("bus/mdev").unwrap();
    assert!(tree.host().sysfs_dir("bus/mdev/devices").unwrap().is_none());
}

fn server() -> Tree {
    let tree = Tree::without_mdev_bus().unwrap();
    let bridge = PciFunction::new("0000:3a:00.0", 0x8086, 0x2030).class(0x06_0400).numa_node(1);
    tree.add_function(&bridge.kernel_driver("pcieport")).unwrap();
    let adapter = PciFunction::new("0000:3b:00.0", 0x15b3, 0x101d)
        .class(0x02_0000)
        .revision(0x10)
        .subsystem(0x15b3, 0x0043)
        .numa_node(1)
        .behind("0000:3a:00.0");
    tree.add_function(&adapter.virtual_functions(8).kernel_driver("mlx5_core")).unwrap();
    for (number, driver) in [(2, "mlx5_vfio_pci"), (3, "vfio-pci")] {
        let part = PciFunction::new(format!("0000:3b:00.{number}"), 0x15b3, 0x101e);
        let part = part.class(0x02_0000).virtual_of("0000:3b:00.0").vfio_driver(driver);
        tree.add_function(&part.with_cdev(510, number)).unwrap();
    }
    tree
}

#[test]
fn pci_functions_are_laid_out_as_by_the_kernel() {
    let tree = server();
    let found = listing(&tree);
    let adapter = "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0";
    let part = "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.2";
    let uevent = "DRIVER=mlx5_core\nPCI_CLASS=20000\nPCI_ID=15B3:101D\nPCI_SUBSYS_ID=15B3:0043\n\
                  PCI_SLOT_NAME=0000:3b:00.0\n\
                  MODALIAS=pci:v000015B3d0000101Dsv000015B3sd00000043bc02sc00i00\n";
    for expected in [
        "bus/pci/devices/0000:3a:00.0 -> ../../../devices/pci0000:3a/0000:3a:00.0".to_owned(),
        format!("bus/pci/devices/0000:3b:00.0 -> ../../../{adapter}"),
        format!("bus/pci/drivers/mlx5_core/0000:3b:00.0 -> ../../../../{adapter}"),
        "bus/pci/drivers/mlx5_core/unbind: write-only".to_owned(),
        "bus/pci/drivers_probe: write-only".to_owned(),
        format!("{adapter}/class: \"0x020000\\n\""),
        format!("{adapter}/device: \"0x101d\\n\""),
        format!("{adapter}/driver -> ../../../../bus/pci/drivers/mlx5_core"),
        format!("{adapter}/driver_override: \"(null)\\n\""),
        format!("{adapter}/iommu_group -> ../../../../kernel/iommu_groups/1"),
        format!("{adapter}/numa_node: \"1\\n\""),
        format!("{adapter}/revision: \"0x10\\n\""),
        format!("{adapter}/sriov_numvfs: \"2\\n\""),
        format!("{adapter}/sriov_totalvfs: \"8\\n\""),
        format!("{adapter}/subsystem -> ../../../../bus/pci"),
        format!("{adapter}/subsystem_device: \"0x0043\\n\""),
        format!("{adapter}/uevent: {uevent:?}"),
        format!("{adapter}/virtfn1 -> ../0000:3b:00.3"),
        format!("{part}/numa_node: \"-1\\n\""),
        format!("{part}/physfn -> ../0000:3b:00.0"),
        format!("{part}/vfio-dev/vfio0/dev: \"510:2\\n\""),
        "class/vfio/2 -> ../../devices/virtual/vfio/2".to_owned(),
        "kernel/iommu_groups/1/type: \"DMA-FQ\\n\"".to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected} is not in {found:#?}");
    }
    assert!(!found.iter().any(|line| line.starts_with("class/vfio/1 ")), "not VFIO's");
    assert!(tree.dev().join("vfio/devices/vfio0").is_file());
}

#[test]
fn functions_change_their_driver_and_leave_nothing() {
    let tree = server();
    let entry = |name: &str| tree.sysfs().join("bus/pci/devices/0000:3b:00.2").join(name);
    tree.bind_function("0000:3b:00.2", "mlx5_core").unwrap();
    assert!(fs::read_link(entry("driver")).unwrap().ends_with("mlx5_core"));
    assert!(!entry("vfio-dev").exists() && !tree.dev().join("vfio/2").exists());
    tree.unbind_function("0000:3b:00.2").unwrap();
    assert!(fs::read_to_string(entry("uevent")).unwrap().starts_with("PCI_CLASS="));
    tree.bind_function_to_vfio("0000:3b:00.2", "vfio-pci").unwrap();
    assert!(entry("vfio-dev/vfio0").exists() && tree.dev().join("vfio/2").exists());

    tree.remove_function("0000:3b:00.2").unwrap();
    let physical = tree.sysfs().join("bus/pci/devices/0000:3b:00.0");
    assert_eq!(fs::read_to_string(physical.join("sriov_numvfs")).unwrap(), "1\n");
    for address in ["0000:3b:00.3", "0000:3b:00.0", "0000:3a:00.0"] {
        tree.remove_function(address).unwrap();
        assert_eq!(errno(tree.remove_function(address)), MISSING);
        assert_eq!(errno(tree.bind_function(address, "vfio-pci")), MISSING);
    }
    let left = listing(&tree);
    assert!(!left.iter().any(|line| line.contains("0000:3")), "{left:#?}");
    assert!(fs::read_dir(tree.sysfs().join("kernel/iommu_groups")).unwrap().next().is_none());
}

#[test]
fn a_function_without_its_bridge_and_one_that_is_there_are_errors() {
    let tree = server();
    let exists = Some(Errno::EXIST.raw_os_error());
    let function = PciFunction::new("0000:3b:00.0", 1, 2);
    assert_eq!(errno(tree.add_function(&function)), exists);
    for lost in [function.clone().behind("0000:00:00.0"), function.virtual_of("0000:00:00.0")] {
        assert_eq!(errno(tree.add_function(&lost)), MISSING);
    }
    assert!(!listing(&tree).iter().any(|line| line.contains("pci0000:3b")));
}

#[test]
fn constants_share_their_bytes_until_one_is_written() {
    let tree = server();
    let attribute = |address: &str, name| format!("bus/pci/devices/{address}/{name}");
    let read = |path: String| fs::read_to_string(tree.sysfs().join(path)).unwrap();
    tree.write(attribute("0000:3b:00.2", "vendor"), "0x0000\n").unwrap();
    assert_eq!(read(attribute("0000:3b:00.2", "vendor")), "0x0000\n");
    assert_eq!(read(attribute("0000:3b:00.3", "vendor")), "0x15b3\n");
    assert_eq!(read(attribute("0000:3b:00.0", "subsystem_vendor")), "0x15b3\n");
}
