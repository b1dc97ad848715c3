//! The token that virtual functions share with their physical function under vfio-pci. Linux 6.12
//! checks it for devices that are got from a group; by character device it knows none.

use std::fs;

use vfio_common::device::{Device, FeatureError, VfToken};
use vfio_common::pci_config::REGION_INDEX;
use vfio_common::route::{OpenError, OpenWith, Opener as _, Route, Vfio};
use vfio_common::sysfs::Host;

use crate::machine::{self, attribute, descriptors, link_name, route, vfio};
use crate::vfio_pci::{Bound, target};

const PHYSICAL: &str = "0000:02:00.0";
const VIRTUAL: &str = "0000:02:00.1";
const EDU: &str = "0000:00:04.0";

/// The physical function under vfio-pci, open by the route of this run, with one virtual function. It
/// stays open, for it is reset when it opens and when it closes, and QEMU's forgets its virtual
/// functions then.
struct Functions {
    physical: Device,
    vfio: Vfio,
    bound: Bound,
}

impl Functions {
    fn open_with(with: &OpenWith) -> Self {
        let bound = Bound::new(PHYSICAL);
        let vfio = vfio();
        let physical = vfio.open_with(&bound.target(), with).unwrap();
        fs::write(bound.path("sriov_numvfs"), "1").unwrap();
        let driver = format!("/sys/bus/pci/devices/{VIRTUAL}/driver");
        assert_eq!(link_name(driver), "vfio-pci", "the kernel binds them itself");
        Self { physical, vfio, bound }
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        let _ = fs::write(self.bound.path("sriov_numvfs"), "0");
    }
}

fn token(number: u128) -> VfToken {
    uuid::Uuid::from_u128(number).into()
}

fn with(number: u128) -> OpenWith {
    OpenWith::new().vf_token(token(number))
}

fn by_group() -> Vfio {
    Vfio::new(Host::system()).route(Route::Group)
}

fn assert_works(device: &Device) {
    const RED_HAT: u16 = 0x1b36;
    assert_eq!(device.region(REGION_INDEX).unwrap().read16(0).unwrap(), RED_HAT);
}

fn refused(vfio: &Vfio, name: &str, with: &OpenWith) -> String {
    let before = descriptors();
    let error = vfio.open_with(&target(name), with).unwrap_err();
    assert!(matches!(error, OpenError::Needs { .. }), "{error:?}");
    assert_eq!(descriptors(), before, "{error}");
    error.to_string()
}

#[test]
fn a_virtual_function_opens_with_the_token_of_its_physical_function() {
    let functions = Functions::open_with(&OpenWith::new());
    let vfio = &functions.vfio;
    // Nobody knows the one that the kernel has made up.
    functions.physical.set_vf_token(token(1)).unwrap();
    if route() == "group" {
        let error = refused(vfio, VIRTUAL, &OpenWith::new());
        let part = "a virtual function of 0000:02:00.0, which is bound to vfio-pci";
        assert!(error.contains(part), "{error}");
        let error = refused(vfio, VIRTUAL, &with(2));
        assert!(error.contains("not that of its physical function 0000:02:00.0"), "{error}");
    } else {
        assert_works(&vfio.open(&target(VIRTUAL)).unwrap());
    }
    assert_works(&vfio.open_with(&target(VIRTUAL), &with(1)).unwrap());
    functions.physical.set_vf_token(token(2)).unwrap();
    assert_works(&by_group().vf_token(token(2)).open(&target(VIRTUAL)).unwrap());
}

#[test]
fn the_program_opens_a_virtual_function_with_the_token_that_it_is_given() {
    let functions = Functions::open_with(&OpenWith::new());
    let show = |token: Option<u128>| {
        let mut program = machine::program();
        program.args(["--route", "group"]);
        if let Some(token) = token {
            program.args(["--vf-token", &uuid::Uuid::from_u128(token).to_string()]);
        }
        machine::ran(program.args(["pci", "show", VIRTUAL]).output().unwrap())
    };
    functions.physical.set_vf_token(token(1)).unwrap();
    for wrong in [None, Some(2)] {
        let ran = show(wrong);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{wrong:?}");
        assert!(ran.stderr.contains(PHYSICAL), "{wrong:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.contains("mdevbus --vf-token"), wrong.is_none(), "{}", ran.stderr);
    }
    let ran = show(Some(1));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("msix"), "{}", ran.stdout);
}

#[test]
fn a_physical_function_whose_virtual_ones_are_in_use_wants_their_token() {
    let functions = Functions::open_with(&with(1));
    let used = by_group().open_with(&target(VIRTUAL), &with(1)).unwrap();
    if route() == "group" {
        let vfio = &functions.vfio;
        let error = refused(vfio, PHYSICAL, &OpenWith::new());
        assert!(error.contains("give the token that they were opened with"), "{error}");
        let error = refused(vfio, PHYSICAL, &with(2));
        assert!(error.contains("not the one that they were opened with"), "{error}");
        assert_works(&vfio.open_with(&target(PHYSICAL), &with(1)).unwrap());
        drop(used);
        // Nobody uses them now.
        assert_works(&vfio.open(&target(PHYSICAL)).unwrap());
    }
}

#[test]
fn a_physical_function_that_is_opened_with_a_token_has_it_from_then_on() {
    for number in [3, 4] {
        let _functions = Functions::open_with(&with(number));
        let error = refused(&by_group(), VIRTUAL, &with(number + 1));
        assert!(error.contains("the VF token is not that of"), "{error}");
        assert_works(&by_group().open_with(&target(VIRTUAL), &with(number)).unwrap());
    }
}

#[test]
fn a_token_is_refused_where_none_is_taken() {
    let edu = Bound::new(EDU);
    let text = vfio().open_with(&edu.target(), &with(1)).unwrap_err().to_string();
    assert!(text.starts_with("0000:00:04.0 takes no VF token"), "{text}");
    // One that is for all devices is for those that take it.
    let device = vfio().vf_token(token(1)).open(&edu.target()).unwrap();
    let error = device.set_vf_token(token(1)).unwrap_err();
    assert!(matches!(error, FeatureError::Unsupported { .. }), "{error:?}");
}

#[test]
fn the_physical_function_goes_back_to_its_driver() {
    drop(Functions::open_with(&OpenWith::new()));
    let device = format!("/sys/bus/pci/devices/{PHYSICAL}");
    assert_eq!(link_name(format!("{device}/driver")), "nvme");
    assert_eq!(attribute(format!("{device}/sriov_numvfs")), "0");
}
