//! What is not bound, and why.

use std::fs;

use pci_bus::binding::{BindingError, Force};
use rustix::io::Errno;

use crate::machine::{BRIDGE, DISK, IDLE, Machine, at, bound};

#[test]
fn a_bridge_is_refused_by_force_too() {
    let machine = Machine::new();
    for force in [Force::No, Force::Yes] {
        let error = machine.binder().bind(at(BRIDGE), "vfio-pci", force).unwrap_err();
        assert!(matches!(error, BindingError::Unbindable { .. }), "{error}");
    }
    // Whatever its class says.
    machine.write(format!("sys/devices/pci0000:00/{IDLE}/secondary_bus_number"), "1\n");
    let error = machine.binder().bind(at(IDLE), "vfio-pci", Force::Yes).unwrap_err();
    assert!(error.to_string().contains("bind the functions behind it"), "{error}");
    assert!(!machine.state_dir().exists());
}

#[test]
fn a_driver_that_is_not_there_is_to_be_loaded_and_one_that_cannot_be_is_refused() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let error = machine.binder().bind(at(DISK), "mlx5_vfio_pci", Force::No).unwrap_err();
    assert!(error.to_string().contains("modprobe mlx5_vfio_pci"), "{error}");
    for name in ["", ".", "..", "a/b", "../drivers/nvme", "a\nb", "a\0b"] {
        let error = machine.binder().bind(at(DISK), name, Force::Yes).unwrap_err();
        assert!(matches!(error, BindingError::BadDriverName { .. }), "{error}");
    }
    let error = machine.binder().bind(at("0000:7f:00.0"), "vfio-pci", Force::No).unwrap_err();
    assert!(error.to_string().contains("no device 0000:7f:00.0"), "{error}");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_function_without_group_is_refused_before_it_is_touched() {
    let machine = Machine::new();
    let refused = || {
        let before = machine.snapshot();
        let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
        assert!(matches!(error, BindingError::NoIommuGroup { .. }), "{error}");
        assert_eq!(machine.snapshot(), before);
        error.to_string()
    };
    let group = machine.device(DISK).join("iommu_group");
    fs::remove_file(&group).unwrap();
    assert!(refused().contains("no IOMMU is in front of it"));
    fs::remove_dir_all(machine.path("sys/kernel/iommu_groups")).unwrap();
    assert!(refused().contains("intel_iommu=on"));

    // Where VFIO is told to do without, the driver decides; this one refuses.
    machine.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    let before = machine.snapshot();
    let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
    let BindingError::Undone { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, BindingError::NoIommuGroup { .. }), "{source}");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn what_the_kernel_refuses_says_what_it_may_lie_in() {
    for (errno, part) in [
        (Errno::ACCESS, "run as root"),
        (Errno::PERM, "run as root"),
        (Errno::ROFS, "read-only"),
        (Errno::NODEV, "gone"),
        (Errno::BUSY, "virtual functions"),
        (Errno::INVAL, "dmesg"),
        (Errno::IO, "dmesg"),
    ] {
        let machine = Machine::new();
        machine.kernel.fail_at(3, errno);
        let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
        let BindingError::Undone { source, .. } = error else { panic!("{error}") };
        let text = source.to_string();
        assert!(text.contains(part) && text.contains("bind 0000:00:06.0 to vfio-pci"), "{text}");
    }
}

#[test]
fn what_the_host_has_is_not_unbound() {
    let machine = Machine::new();
    let error = machine.binder().unbind(at(DISK), Force::Yes).unwrap_err();
    assert!(error.to_string().contains("is bound to nvme, which does not offer it"), "{error}");
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
}

#[test]
fn another_program_that_binds_meanwhile_keeps_what_it_has() {
    // Before it is unbound, and between unbind and bind: the simulated kernel then says ENODEV and EBUSY.
    for write in 1..=3 {
        let machine = Machine::new();
        machine.kernel.steal_at(write, "other_vfio_pci");
        let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
        assert!(error.to_string().contains("is bound to other_vfio_pci now: another"), "{error}");
        assert_eq!(machine.records(), Vec::<String>::new());
        assert_eq!(machine.state(DISK).driver.as_deref(), Some("other_vfio_pci"));
    }
}
