//! The guest: its sysfs, and the program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use vfio_common::route::{Route, Target, Vfio};
use vfio_common::sysfs::Host;

/// A device made through sysfs; removed when dropped.
pub(crate) struct Created {
    pub(crate) uuid: String,
}

/// What a run of the program left.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Created {
    pub(crate) fn new(parent: &str, mdev_type: &str) -> Self {
        static CREATED: AtomicU64 = AtomicU64::new(1);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let uuid = Uuid::from_u64_pair(0x6775_6573_7400_4000, 1 << 63 | number).to_string();
        fs::write(type_dir(parent, mdev_type).join("create"), &uuid).unwrap();
        Self { uuid }
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/sys/bus/mdev/devices").join(&self.uuid)
    }

    /// Removes the device in a thread, for the kernel waits as long as anybody has it open.
    pub(crate) fn remove_within(self, limit: Duration) {
        let remove = self.path().join("remove");
        std::mem::forget(self);
        let (done, wait) = mpsc::channel();
        thread::spawn(move || done.send(fs::write(remove, "1")));
        match wait.recv_timeout(limit) {
            Ok(removed) => removed.unwrap(),
            Err(_) => panic!("the device is still open: its removal does not return"),
        }
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // A test that took the device away itself has nothing left to remove.
        let _ = fs::write(self.path().join("remove"), "1");
    }
}

pub(crate) fn type_dir(parent: &str, mdev_type: &str) -> PathBuf {
    Path::new("/sys/class/mdev_bus").join(parent).join("mdev_supported_types").join(mdev_type)
}

/// The route that this run of the tests takes: `cdev` or `group`.
pub(crate) fn route() -> String {
    std::env::var("MDEVBUS_TEST_ROUTE").expect("MDEVBUS_TEST_ROUTE names the route")
}

/// Opens devices on that route.
pub(crate) fn vfio() -> Vfio {
    let route = if route() == "cdev" { Route::Cdev } else { Route::Group };
    Vfio::new(Host::system()).route(route)
}

/// A mediated device, to open it.
pub(crate) fn target(created: &Created) -> Target {
    let sysfs = Path::new("bus/mdev/devices").join(&created.uuid);
    Target { name: created.uuid.clone(), sysfs }
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The program.
pub(crate) fn program() -> Command {
    Command::new(std::env::var_os("MDEVBUS_BIN").expect("MDEVBUS_BIN names the program"))
}

/// The program, on the route of this run.
pub(crate) fn mdevbus() -> Command {
    let mut command = program();
    command.args(["--route", &route()]);
    command
}

/// The group's node.
pub(crate) fn group_node(created: &Created) -> PathBuf {
    Path::new("/dev/vfio").join(link_name(created.path().join("iommu_group")))
}

/// The device's own node.
pub(crate) fn device_node(created: &Created) -> PathBuf {
    let mut names = fs::read_dir(created.path().join("vfio-dev")).unwrap();
    Path::new("/dev/vfio/devices").join(names.next().unwrap().unwrap().file_name())
}

/// The nodes that the route opens, the one for the device first.
pub(crate) fn nodes(created: &Created) -> [PathBuf; 2] {
    match route().as_str() {
        "cdev" => [device_node(created), "/dev/iommu".into()],
        _ => [group_node(created), "/dev/vfio/vfio".into()],
    }
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    ran(mdevbus().args(arguments).output().unwrap())
}

pub(crate) fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().expect("the program was not killed");
    Ran { status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a program of the guest; it must succeed.
pub(crate) fn tool(arguments: &[&str]) {
    let (name, rest) = arguments.split_first().unwrap();
    let output = Command::new(name).args(rest).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The program's JSON; it must have succeeded.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let ran = run(&[&["--json"], arguments].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// What a failed run says: one sentence.
pub(crate) fn complaint(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    ran.stderr.strip_prefix("mdevbus: ").expect("the program names itself").trim().to_owned()
}

/// An attribute, or the last name of a link's target.
pub(crate) fn attribute(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

pub(crate) fn link_name(path: impl AsRef<Path>) -> String {
    let target = fs::read_link(path).unwrap();
    target.file_name().unwrap().to_str().unwrap().to_owned()
}
