use vfio_sim::tree::Tree;

use super::*;

fn os(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

fn host_of(tree: &Tree) -> Host {
    Host::new(tree.sysfs(), tree.dev())
}

/// A virtual function of 0000:02:00.0, which is bound to `driver`.
fn virtual_function(tree: &Tree, driver: &str) -> Target {
    let physical = "devices/pci0000:00/0000:02:00.0";
    let name = "0000:02:00.1".to_owned();
    tree.write(format!("{physical}/sriov_totalvfs"), "2\n").unwrap();
    tree.mkdir(format!("bus/pci/drivers/{driver}")).unwrap();
    let _ = tree.remove(format!("{physical}/driver"));
    tree.link(format!("{physical}/driver"), format!("bus/pci/drivers/{driver}")).unwrap();
    tree.mkdir(format!("bus/pci/devices/{name}")).unwrap();
    let _ = tree.remove(format!("bus/pci/devices/{name}/physfn"));
    tree.link(format!("bus/pci/devices/{name}/physfn"), format!("../../../../{physical}")).unwrap();
    Target { sysfs: format!("bus/pci/devices/{name}").into(), name }
}

#[test]
fn a_function_that_wants_its_token_is_told_whose_that_is() {
    let tree = Tree::new().unwrap();
    let host = host_of(&tree);
    let function = virtual_function(&tree, "vfio-pci");
    let physical = "0000:02:00.0".to_owned();
    let physical =
        Target { sysfs: format!("devices/pci0000:00/{physical}").into(), name: physical };
    let token = OpenWith::new().vf_token(uuid::Uuid::from_u128(1).into());
    for (target, with, part) in [
        (
            &function,
            &OpenWith::new(),
            "a virtual function of 0000:02:00.0, which is bound to vfio-pci",
        ),
        (&function, &token, "not that of its physical function 0000:02:00.0"),
        (&physical, &OpenWith::new(), "give the token that they were opened with"),
        (&physical, &token, "not the one that they were opened with"),
    ] {
        let error = OpenError::get_device(&host, target, with, 7, os(Errno::ACCESS));
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot open {}: ", target.name)), "{text}");
        assert!(text.contains(part), "{text}");
        let node = "/dev/vfio/devices/vfio0".into();
        let error = OpenError::bind(&host, target, with, node, os(Errno::ACCESS));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_token_is_for_functions_that_take_one() {
    let tree = Tree::new().unwrap();
    let host = host_of(&tree);
    let with = OpenWith::new().vf_token(uuid::Uuid::from_u128(1).into());
    let has_token = |own: &OpenWith, all: &OpenWith, target| {
        own.or(all, &host, target).map(|with| with.vf_token.is_some())
    };
    let none = OpenWith::new();
    let function = virtual_function(&tree, "vfio-pci");
    assert!(
        has_token(&with, &none, &function).unwrap() && has_token(&none, &with, &function).unwrap()
    );
    assert!(!has_token(&none, &none, &function).unwrap());
    // The kernel checks no token then, and refuses one.
    let function = virtual_function(&tree, "nvme");
    let text = has_token(&with, &none, &function).unwrap_err().to_string();
    assert!(text.starts_with("0000:02:00.1 takes no VF token"), "{text}");
    assert!(!has_token(&none, &with, &function).unwrap());
    let gone = Target { sysfs: "bus/pci/devices/gone".into(), name: "gone".into() };
    assert!(matches!(has_token(&with, &none, &gone), Err(OpenError::NoDevice { .. })));
}

#[test]
fn a_driver_that_wants_a_virtual_machine_is_named() {
    let tree = Tree::new().unwrap();
    let host = host_of(&tree).with_proc("/no-such-proc");
    let name = "0000:01:00.1".to_owned();
    let target = Target { sysfs: format!("bus/pci/devices/{name}").into(), name };
    tree.mkdir(&target.sysfs).unwrap();
    let none = OpenWith::new();
    let get = |errno| OpenError::get_device(&host, &target, &none, 7, os(errno)).to_string();
    let bind =
        |errno| OpenError::bind(&host, &target, &none, "/dev/x".into(), os(errno)).to_string();
    assert!(get(Errno::INVAL).contains("its kernel driver refuses it"), "{}", get(Errno::INVAL));
    for (driver, errno, part) in [
        ("some_mdev", Errno::INVAL, "its kernel driver some_mdev refuses it"),
        ("some_mdev", Errno::SRCH, "some_mdev wants a KVM virtual machine"),
        ("vfio_ap_mdev", Errno::INVAL, "vfio_ap_mdev wants a KVM virtual machine"),
    ] {
        tree.mkdir(format!("bus/pci/drivers/{driver}")).unwrap();
        let _ = tree.remove(target.sysfs.join("driver"));
        tree.link(target.sysfs.join("driver"), format!("bus/pci/drivers/{driver}")).unwrap();
        for text in [get(errno), bind(errno)] {
            assert!(text.contains(part) && text.contains("`Vfio::kvm`"), "{errno:?}: {text}");
        }
    }
}

#[test]
fn a_group_that_an_iommufd_cannot_own_is_told_from_one_whose_interrupts_are_not_remapped() {
    let tree = Tree::new().unwrap();
    let processes = tempfile::tempdir().unwrap();
    let host = host_of(&tree).with_proc(processes.path());
    let name = "0000:01:00.0".to_owned();
    let target = Target { sysfs: format!("bus/pci/devices/{name}").into(), name };
    let (members, sibling) = ("kernel/iommu_groups/7/devices", "0000:01:00.1");
    tree.mkdir(format!("{members}/{sibling}/vfio-dev/vfio3")).unwrap();
    tree.mkdir(&target.sysfs).unwrap();
    tree.link(target.sysfs.join("iommu_group"), "kernel/iommu_groups/7").unwrap();
    let refused = || {
        let node = "/dev/vfio/devices/vfio2".into();
        OpenError::bind(&host, &target, &OpenWith::new(), node, os(Errno::PERM))
    };
    let text = refused().to_string();
    assert!(text.contains("iommufd.allow_unsafe_interrupts"), "{text}");

    // Somebody has the sibling.
    let node = host.device_node("vfio/devices/vfio3");
    std::fs::create_dir_all(node.parent().unwrap()).unwrap();
    std::fs::write(&node, "").unwrap();
    let process = processes.path().join("4711");
    std::fs::create_dir_all(process.join("fd")).unwrap();
    std::fs::write(process.join("comm"), "qemu\n").unwrap();
    std::os::unix::fs::symlink(&node, process.join("fd/3")).unwrap();
    let error = refused();
    assert!(matches!(error, OpenError::OtherOwner { .. }), "{error:?}");
    let text = error.to_string();
    let parts = ["cannot open 0000:01:00.0: its group 7", "process 4711 (qemu) has it open"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");

    // The host uses the sibling, whoever has devices of the group besides.
    tree.mkdir("bus/pci/drivers/e1000e").unwrap();
    tree.remove(format!("{members}/{sibling}/vfio-dev")).unwrap();
    tree.link(format!("{members}/{sibling}/driver"), "bus/pci/drivers/e1000e").unwrap();
    let error = refused();
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("group 7 is not viable: 0000:01:00.1 is bound to e1000e"), "{text}");
}
