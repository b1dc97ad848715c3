//! On the machine `no_iommu`: what is said while VFIO does not go without.

use std::error::Error as _;

use vfio_common::route::OpenError;

use crate::machine::{self, Created};
use crate::pci_function::{self, EDU};

const EINVAL: i32 = 22;
const WAY_OUT: [&str; 3] = ["the IOMMU is off", "firmware (VT-d, AMD-Vi)", "intel_iommu=on"];

#[test]
fn a_device_cannot_be_bound_or_opened_and_the_iommu_is_named() {
    let refused = pci_function::bind(EDU).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(EINVAL), "what the kernel says of it: {refused}");

    // The groups that VFIO makes for mediated devices hide nothing.
    let _card = Created::new("mtty", "mtty-1");
    let error = pci_function::open(EDU).unwrap_err();
    assert!(matches!(error, OpenError::IommuOff { .. }), "{error:?}");
    assert!(error.source().is_none(), "nothing was tried");
    let diagnosed = machine::run(&["doctor", EDU]);
    assert_eq!(diagnosed.status, 1);
    for part in WAY_OUT {
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }
}

#[test]
fn a_mediated_device_needs_no_iommu() {
    let card = Created::new("mtty", "mtty-1");
    for route in ["cdev", "group"] {
        let mut program = machine::program();
        program.args(["--route", route, "show", &card.uuid]);
        let ran = machine::ran(program.output().unwrap());
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{route}");
    }
}
