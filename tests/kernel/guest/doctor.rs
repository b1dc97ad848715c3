//! What the diagnosis says before anything is opened, and that opening then says the same.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vfio_common::diagnosis::OpenFiles;
use vfio_common::route::{Opener as _, Route, Target, Vfio};
use vfio_common::sysfs::Host;

use crate::machine::{self, Created, Ran, device_node, link_name, ran};
use crate::pci_function::{EDU, release};
use crate::vfio_pci::Bound;

/// These two share a group: an idle device, and a network card that its driver uses.
const IDLE: &str = "0000:01:01.0";
const USED: &str = "0000:01:02.0";

fn group_node(created: &Created) -> String {
    format!("/dev/vfio/{}", link_name(created.path().join("iommu_group")))
}

/// Most of what is diagnosed here is the way by group; that by character device has tests at the end.
fn mdevbus() -> Command {
    let mut program = machine::program();
    program.args(["--route", "group"]);
    program
}

fn run(arguments: &[&str]) -> Ran {
    ran(mdevbus().args(arguments).output().unwrap())
}

fn vfio() -> Vfio {
    Vfio::new(Host::system()).route(Route::Group)
}

fn doctor(device: &str) -> Ran {
    run(&["doctor", device])
}

fn as_user(arguments: &[&str]) -> Ran {
    let output: Output = mdevbus().args(arguments).uid(1000).gid(1000).output().unwrap();
    ran(output)
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// The sentence of opening a PCI function.
fn open_error(name: &str) -> String {
    let vfio = vfio();
    let sysfs = Path::new("bus/pci/devices").join(name);
    vfio.open(&Target { name: name.to_owned(), sysfs }).unwrap_err().to_string()
}

#[test]
fn healthy_devices_should_open() {
    let cards = [Created::new("mtty", "mtty-2"), Created::new("mdevtest", "mdevtest-sparse")];
    for card in &cards {
        let ran = doctor(&card.uuid);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        assert_parts(&ran.stdout, &[&format!("{}: should open", card.uuid)]);
        assert!(!ran.stdout.contains("error") && !ran.stdout.contains("held"), "{}", ran.stdout);
    }
    let all = run(&["--json", "doctor"]);
    let value: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!((all.status, &value["works"]), (0, &Value::Bool(true)), "{value}");
    assert_eq!(value["machine"], serde_json::json!([]), "this machine has all there is");
    let devices = value["devices"].as_array().unwrap();
    for card in &cards {
        assert!(devices.iter().any(|device| device["device"] == card.uuid));
    }
}

#[test]
fn a_holder_of_the_group_is_named() {
    let card = Created::new("mtty", "mtty-1");
    let held = File::options().read(true).write(true).open(group_node(&card)).unwrap();
    // Another process, which inherits it.
    let mut holder =
        Command::new("/bin/sleep").arg("1000").stdin(Stdio::from(held)).spawn().unwrap();
    let named = format!("held by process {} (sleep)", holder.id());
    let diagnosed = doctor(&card.uuid);
    assert_eq!(diagnosed.status, 1);
    assert_parts(&diagnosed.stdout, &["does not open", &named, "end that process"]);
    let shown = run(&["show", &card.uuid]);
    assert_parts(&shown.stderr, &[&format!("process {} (sleep) has it open", holder.id())]);
    // An ordinary user cannot look into root's processes, and is told so.
    let by_user = as_user(&["doctor", &card.uuid]);
    assert_parts(&by_user.stdout, &["cannot be looked into", "run as root to see"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(doctor(&card.uuid).status, 0);
}

#[test]
fn a_device_that_is_in_use_is_held() {
    const ANONYMOUS: &str = "anon_inode:[vfio-device]";
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let sysfs = Path::new("bus/mdev/devices").join(&device.uuid);
    let target = Target { name: device.uuid.clone(), sysfs };
    let opened = vfio().open(&target).unwrap();
    let region = opened.region(0).unwrap();
    let diagnosed = doctor(&device.uuid);
    assert_eq!(diagnosed.status, 1);
    assert_parts(&diagnosed.stdout, &[&format!("held by process {} (", std::process::id())]);

    // What the search for holders knows of the kernel.
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let mut links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    assert!(links.any(|link| link.as_os_str() == ANONYMOUS));
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.lines().any(|line| line.ends_with(ANONYMOUS)), "{maps}");

    let files = OpenFiles::read(&Host::system());
    let group = link_name(device.path().join("iommu_group")).parse().unwrap();
    let holders = files.holders_of_group(&Host::system(), group);
    assert!(matches!(holders.certain.as_slice(), [this] if this.is_self), "{holders}");
    drop((region, opened));
    assert_eq!(doctor(&device.uuid).status, 0);
}

#[test]
fn a_holder_of_the_character_device_is_named() {
    let card = Created::new("mtty", "mtty-1");
    let mut entries = fs::read_dir(card.path().join("vfio-dev")).unwrap();
    let node = Path::new("/dev/vfio/devices").join(entries.next().unwrap().unwrap().file_name());
    let held = File::options().read(true).write(true).open(node).unwrap();
    let diagnosed = doctor(&card.uuid);
    assert_eq!(diagnosed.status, 1);
    assert_parts(&diagnosed.stdout, &[&format!("held by process {} (", std::process::id())]);
    drop(held);
    assert_eq!(doctor(&card.uuid).status, 0);
}

#[test]
fn an_ordinary_user_is_told_owner_and_mode() {
    let card = Created::new("mtty", "mtty-1");
    let node = group_node(&card);
    let diagnosed = as_user(&["doctor", &card.uuid]);
    assert_eq!(diagnosed.status, 1);
    let refused = format!("{node} is refused to user 1000 (groups ");
    assert_parts(&diagnosed.stdout, &[&refused, "owner 0:0 and mode 0600", "udev rule"]);
    assert_parts(&diagnosed.stdout, &["RLIMIT_MEMLOCK lets this process lock"]);

    chown(&node, Some(1000), None).unwrap();
    assert_eq!(as_user(&["doctor", &card.uuid]).status, 0);
    assert_eq!(as_user(&["show", &card.uuid]).status, 0);

    let container = Path::new("/dev/vfio/vfio");
    let before = fs::metadata(container).unwrap().permissions();
    fs::set_permissions(container, fs::Permissions::from_mode(0o600)).unwrap();
    let (diagnosed, shown) = (as_user(&["doctor", &card.uuid]), as_user(&["show", &card.uuid]));
    fs::set_permissions(container, before).unwrap();
    assert_eq!((diagnosed.status, shown.status), (1, 1));
    let remedy = "udevadm trigger /dev/vfio/vfio";
    assert_parts(&diagnosed.stdout, &["/dev/vfio/vfio is refused to user 1000", remedy]);
    assert_parts(&shown.stderr, &["/dev/vfio/vfio (owner 0:0, mode 0600)", remedy]);
}

#[test]
fn a_missing_node_leads_to_the_container() {
    let card = Created::new("mtty", "mtty-1");
    let node = group_node(&card);
    let nodes = tempfile::tempdir().unwrap();
    fs::create_dir(nodes.path().join("vfio")).unwrap();
    std::os::unix::fs::symlink("/dev/vfio/vfio", nodes.path().join("vfio/vfio")).unwrap();
    let dev = nodes.path().to_str().unwrap();
    let mine = node.replace("/dev", dev);
    let (diagnosed, shown) =
        (run(&["--dev", dev, "doctor", &card.uuid]), run(&["--dev", dev, "show", &card.uuid]));
    assert_eq!((diagnosed.status, shown.status), (1, 1));
    assert_parts(&diagnosed.stdout, &[&mine, "is not there, though", "--device"]);
    assert_parts(&shown.stderr, &[&mine, "is not there, though", "--device", "No such file"]);

    // A node of another group, under this one's name.
    let other = Created::new("mtty", "mtty-1");
    std::os::unix::fs::symlink(group_node(&other), &mine).unwrap();
    let (diagnosed, shown) =
        (run(&["--dev", dev, "doctor", &card.uuid]), run(&["--dev", dev, "show", &card.uuid]));
    assert_eq!((diagnosed.status, shown.status), (1, 1));
    assert_parts(&diagnosed.stdout, &[&mine, "is stale"]);
    assert_parts(&shown.stderr, &[&mine, "is stale"]);
}

#[test]
fn a_device_without_driver_is_to_be_made_again() {
    let card = Created::new("mtty", "mtty-1");
    fs::write("/sys/bus/mdev/drivers/mtty/unbind", &card.uuid).unwrap();
    let diagnosed = doctor(&card.uuid);
    assert_eq!(diagnosed.status, 1);
    assert_parts(&diagnosed.stdout, &["has no kernel driver bound", "remove and create it again"]);
}

#[test]
fn a_name_that_the_group_does_not_have_is_answered_with_those_it_has() {
    let card = Created::new("mtty", "mtty-1");
    let sysfs = Path::new("bus/mdev/devices").join(&card.uuid);
    let name = IDLE.to_owned();
    let error = vfio().open(&Target { name: name.clone(), sysfs }).unwrap_err();
    assert_parts(&error.to_string(), &[&format!("cannot get {name} from group")]);
    assert_parts(&error.to_string(), &[&format!("the group has {}", card.uuid)]);
}

#[test]
fn a_group_that_is_not_viable_names_the_offender() {
    let _bound = Bound::new(IDLE);
    let offender = format!("{USED} is bound to e1000e");
    for diagnosed in ["group", "cdev"].map(|route| by(route, IDLE, 0)) {
        assert_eq!(diagnosed.status, 1);
        let parts = ["is not viable", &offender, "bind it to vfio-pci or unbind"];
        assert_parts(&diagnosed.stdout, &parts);
        // The others of the group, bridges among them, are not accused.
        assert_eq!(diagnosed.stdout.matches("is not viable").count(), 1, "{}", diagnosed.stdout);
    }
    let error = open_error(IDLE);
    assert_parts(&error, &["is not viable", &offender, "bind to vfio-pci or unbind"]);
    // By character device the kernel says no more than that it is not permitted.
    let target = Target { name: IDLE.to_owned(), sysfs: Path::new("bus/pci/devices").join(IDLE) };
    let by_cdev = Vfio::new(Host::system()).route(Route::Cdev).open(&target).unwrap_err();
    assert_eq!(by_cdev.to_string(), error);
    let ran = doctor(USED);
    assert_eq!(ran.status, 1);
    assert_parts(&ran.stdout, &["is bound to e1000e, which does not offer it through VFIO"]);
}

#[test]
fn a_pci_function_should_open_once_it_is_bound() {
    let name = EDU;
    // Other tests leave it bound.
    release(name);
    let before = doctor(name);
    assert_eq!(before.status, 1);
    assert_parts(&before.stdout, &["is bound to no kernel driver", "vfio-pci"]);
    assert_parts(&open_error(name), &["/dev/vfio/"]);
    let _bound = Bound::new(name);
    let ran = doctor(name);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(!ran.stdout.contains("remapping"), "{}", ran.stdout);
    let vfio = vfio();
    let sysfs = Path::new("bus/pci/devices").join(name);
    vfio.open(&Target { name: name.to_owned(), sysfs }).unwrap();
}

/// By character device, or by either route.
fn by(route: &str, device: &str, uid: u32) -> Ran {
    let mut program = machine::program();
    program.args(["--route", route, "doctor", device]).uid(uid).gid(uid);
    ran(program.output().unwrap())
}

#[test]
fn nodes_of_the_other_route_are_no_obstacle() {
    let card = Created::new("mtty", "mtty-1");
    let own = device_node(&card);
    assert_eq!(by("cdev", &card.uuid, 0).status, 0);
    let refused = by("cdev", &card.uuid, 1000);
    assert_eq!(refused.status, 1);
    let parts = [own.to_str().unwrap(), "/dev/iommu", "is refused to user 1000", "udev rule"];
    assert_parts(&refused.stdout, &parts);
    assert_eq!(by("auto", &card.uuid, 1000).status, 1);

    // The group is enough for either route, and then the device opens.
    chown(group_node(&card), Some(1000), None).unwrap();
    let ran = by("auto", &card.uuid, 1000);
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    assert_parts(&ran.stdout, &["note", own.to_str().unwrap()]);
    assert_eq!(by("cdev", &card.uuid, 1000).status, 1);
    chown(group_node(&card), Some(0), None).unwrap();

    // So are the device's own node and the iommufd.
    for node in [own.to_str().unwrap(), "/dev/iommu"] {
        chown(node, Some(1000), None).unwrap();
    }
    let both = ["auto", "cdev"].map(|route| by(route, &card.uuid, 1000).status);
    let group = by("group", &card.uuid, 1000).status;
    chown("/dev/iommu", Some(0), None).unwrap();
    assert_eq!((both, group), ([0, 0], 1));
}
