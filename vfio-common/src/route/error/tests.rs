use super::*;
use crate::route::{OpenWith, Target};

fn os(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

#[test]
fn a_node_that_does_not_open_says_why_by_its_name_and_the_error() {
    for (node, errno, part) in [
        ("/dev/vfio/7", Errno::ACCESS, "SUBSYSTEM==\"vfio\","),
        ("/dev/vfio/devices/vfio7", Errno::ACCESS, "SUBSYSTEM==\"vfio-dev\","),
        ("/dev/iommu", Errno::ACCESS, "KERNEL==\"iommu\","),
        ("/dev/vfio/7", Errno::NOENT, "--device"),
        (
            "/dev/vfio/devices/vfio7",
            Errno::NOENT,
            "though sysfs has it; pass --device /dev/vfio/dev",
        ),
        ("/dev/vfio/7", Errno::PERM, "device cgroup"),
        ("/dev/vfio/7", Errno::PERM, "--device /dev/vfio/7"),
        ("/dev/vfio/7", Errno::NODEV, "its device went away"),
        ("/dev/vfio/noiommu-7", Errno::PERM, "CAP_SYS_RAWIO"),
        ("/dev/kvm", Errno::NOENT, "modprobe kvm_intel or kvm_amd"),
        ("/dev/kvm", Errno::ACCESS, "group kvm"),
        ("/dev/kvm", Errno::PERM, "--device /dev/kvm"),
        ("/dev/vfio/vfio", Errno::ACCESS, "udevadm trigger /dev/vfio/vfio"),
        ("/dev/vfio/vfio", Errno::NOENT, "modprobe vfio"),
        ("/dev/vfio/vfio", Errno::NODEV, "modprobe vfio"),
        ("/dev/vfio/vfio", Errno::PERM, "device cgroup"),
    ] {
        let text = OpenError::Node { node: node.into(), source: os(errno) }.to_string();
        assert!(text.starts_with(&format!("cannot open {node}")), "{text}");
        assert!(text.contains(part), "{errno:?}: {text}");
    }
}

#[test]
fn a_step_that_fails_says_the_way_out() {
    let get = || OpenStep::GetDevice { device: "0000:01:00.0".into(), group: 3 };
    let bind = || OpenStep::BindIommufd { device: "0000:01:00.0".into() };
    let set = || OpenStep::SetIommu { group: 3 };
    for (step, errno, part) in [
        (OpenStep::SetContainer { group: 3 }, Errno::INVAL, "dmesg"),
        (OpenStep::SetContainer { group: 3 }, Errno::INVAL, "unmap it or open them first"),
        (OpenStep::SetContainer { group: 3 }, Errno::PERM, "another member"),
        (OpenStep::SetContainer { group: 3 }, Errno::PERM, "with and without an IOMMU"),
        (OpenStep::SetContainer { group: 3 }, Errno::BADFD, "defect of this program"),
        (set(), Errno::PERM, "vfio_iommu_type1.allow_unsafe_interrupts"),
        (set(), Errno::NODEV, "modprobe vfio_iommu_type1"),
        (set(), Errno::INVAL, "defect of this program"),
        (bind(), Errno::PERM, "iommufd.allow_unsafe_interrupts"),
        (bind(), Errno::IO, "dmesg"),
        (bind(), Errno::NODEV, "it went away"),
        (OpenStep::AttachIoas { device: "0000:01:00.0".into() }, Errno::BUSY, "try again"),
        (OpenStep::AttachIoas { device: "0000:01:00.0".into() }, Errno::ADDRINUSE, "unmap it, or"),
        (OpenStep::AttachNoIommu { group: 3 }, Errno::PERM, "CAP_SYS_RAWIO"),
        (OpenStep::CreateVm, Errno::BUSY, "another hypervisor"),
        (OpenStep::CreateKvmDevice, Errno::BUSY, "of_vfio_device"),
        (get(), Errno::IO, "dmesg"),
        (get(), Errno::EXIST, "another program has it open"),
    ] {
        let text = OpenError::Step { step, source: os(errno) }.to_string();
        assert!(text.starts_with("cannot ") && text.contains(part), "{errno:?}: {text}");
    }
}

#[test]
fn what_sysfs_knows_is_added() {
    let tree = vfio_sim::tree::Tree::new().unwrap();
    let host = Host::new(tree.sysfs(), tree.dev()).with_proc("/no-such-proc");
    let fail = |errno| OpenError::Node { node: "/dev/vfio/7".into(), source: os(errno) };
    assert!(matches!(fail(Errno::NOENT).explained(&host, 7), OpenError::Node { .. }));
    tree.write("class/vfio/7/dev", "511:7\n").unwrap();
    let text = fail(Errno::NOENT).explained(&host, 7).to_string();
    assert!(text.contains("as device 511:7; pass --device /dev/vfio/7"), "{text}");
    let text = fail(Errno::BUSY).explained(&host, 7).to_string();
    assert!(text.contains("another program has it open, and it opens only once"), "{text}");

    tree.mkdir("kernel/iommu_groups/7/devices/0000:01:00.0").unwrap();
    let name = "0000:01:00.1".to_owned();
    let target = Target { sysfs: format!("bus/pci/devices/{name}").into(), name };
    let error = OpenError::get_device(&host, &target, &OpenWith::new(), 7, os(Errno::NODEV));
    let text = error.to_string();
    assert!(text.ends_with("the group has 0000:01:00.0"), "{text}");
}
