//! Parents and types.

use mdev_bus::{DeviceApi, parents};
use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};

use crate::rescan::bus;
use crate::{address, uuid};

#[test]
fn parents_are_read_with_their_types() {
    let tree = Tree::new().unwrap();
    let gpu = Parent::new("0000:00:02.0")
        .pci()
        .numa_node(1)
        .with_type(MdevType::new("i915-GVTg_V5_8", "vfio-pci").name("GVTg_V5_8").instances(3))
        .with_type(
            MdevType::new("i915-GVTg_V5_4", "vfio-pci")
                .description("low_gm_size: 128MB\nhigh_gm_size: 512MB")
                .instances(1),
        );
    tree.add_parent(&gpu).unwrap();
    tree.add_parent(
        &Parent::new("matrix").with_type(MdevType::new("vfio_ap-passthrough", "vfio-ap")),
    )
    .unwrap();
    tree.add_parent(&Parent::new("strange").with_type(MdevType::new("s-1", "vfio-new"))).unwrap();

    let parents = parents(&tree.host()).unwrap().parents;
    let names: Vec<_> = parents.iter().map(|parent| parent.name.as_str()).collect();
    assert_eq!(names, ["0000:00:02.0", "matrix", "strange"]);
    let gpu = &parents[0];
    assert_eq!(gpu.numa_node, Some(1));
    assert_eq!(gpu.types[0].id, "i915-GVTg_V5_4");
    assert_eq!(gpu.types[0].available_instances, Some(1));
    let description = "low_gm_size: 128MB\nhigh_gm_size: 512MB";
    assert_eq!(gpu.types[0].description.as_deref(), Some(description));
    assert_eq!(gpu.types[1].name.as_deref(), Some("GVTg_V5_8"));
    assert_eq!(gpu.types[1].description, None);
    assert_eq!(parents[1].numa_node, None);
    assert_eq!(parents[1].types[0].device_api, Some(DeviceApi::Ap));
    assert_eq!(parents[2].types[0].device_api, Some(DeviceApi::Other("vfio-new".into())));
}

#[test]
fn a_device_below_a_pci_parent_knows_it() {
    let tree = Tree::new().unwrap();
    let kind = MdevType::new("i915-GVTg_V5_4", "vfio-pci").instances(1);
    tree.add_parent(&Parent::new("0000:00:02.0").pci().numa_node(-1).with_type(kind)).unwrap();
    let device = MdevDevice::new(uuid(1), "0000:00:02.0", "i915-GVTg_V5_4");
    tree.add_device(&device.kernel_driver("intel_vgpu_mdev").with_cdev(511, 3)).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    let info = &bus.devices()[0];
    assert_eq!((info.address, info.parent.as_str()), (address(1), "0000:00:02.0"));
    assert_eq!(info.kernel_driver.as_deref(), Some("intel_vgpu_mdev"));
    assert!(info.vfio_dev(bus.host()).unwrap().is_some());
    assert_eq!(parents(bus.host()).unwrap().parents[0].numa_node, None, "-1 stands for none");
}
