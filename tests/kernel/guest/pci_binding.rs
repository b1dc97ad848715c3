//! PCI functions change drivers and come back, whatever happens on the way.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pci_bus::binding::{Attributes, Binder, Force, Sysfs};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;
use vfio_common::route::{Opener as _, Target};
use vfio_common::sysfs::{Host, SysfsError};

use crate::machine::{self, Ran, attribute, complaint, link_name, run, tool};

const EDU: &str = "0000:00:04.0";
const NVME: &str = "0000:00:06.0";
const BRIDGES: [&str; 3] = ["0000:00:07.0", "0000:00:08.0", "0000:00:0a.0"];
const CARD: &str = "0000:01:02.0";
/// It can make virtual functions.
const PARENT: &str = "0000:02:00.0";

/// Where the program records what it changed, if it is not told otherwise.
const STATE: &str = "/run/mdevbus";
/// Which write a child process of these tests does not live to make, and of which function.
const DIE_AT: &str = "MDEVBUS_TEST_DIE_AT";
const LONG: Duration = Duration::from_secs(60);

/// A function, restored when a test has failed on the way.
struct Function(&'static str);

/// What a bind changes, and the command register.
#[derive(Debug, PartialEq)]
struct State {
    driver: Option<String>,
    driver_override: String,
    command: [u8; 2],
}

impl Function {
    fn path(&self, name: &str) -> PathBuf {
        Path::new("/sys/bus/pci/devices").join(self.0).join(name)
    }

    fn driver(&self) -> Option<String> {
        let link = self.path("driver");
        link.exists().then(|| link_name(link))
    }

    fn state(&self) -> State {
        let mut command = [0; 2];
        File::open(self.path("config")).unwrap().read_exact_at(&mut command, 4).unwrap();
        let driver_override = attribute(self.path("driver_override"));
        State { driver: self.driver(), driver_override, command }
    }

    fn run(&self, command: &str) -> Ran {
        run(&["pci", command, self.0])
    }

    /// The line that it prints about the function.
    fn change(&self, command: &str) -> String {
        let ran = self.run(command);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        let line = ran.stdout.trim().strip_prefix(self.0);
        line.unwrap_or_else(|| panic!("{}", ran.stdout)).to_owned()
    }

    fn restore(&self) {
        self.change("restore");
        assert_eq!(records(), Vec::<String>::new());
    }

    /// The disk that nvme has made of it, which comes a moment after the driver.
    fn disk(&self) -> String {
        let start = Instant::now();
        while start.elapsed() < LONG {
            let controllers = fs::read_dir(self.path("nvme")).into_iter().flatten().flatten();
            let names =
                controllers.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten());
            let mut names =
                names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            // Beside it there is its character device, `ng0n1`.
            if let Some(disk) = names.find(|name| name.starts_with("nvme") && name.contains('n'))
                && Path::new("/dev").join(&disk).exists()
                && disk.ends_with("n1")
            {
                return format!("/dev/{disk}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} has no disk", self.0)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = machine::mdevbus().args(["pci", "restore", "--force", self.0]).output();
        }
    }
}

fn records() -> Vec<String> {
    let names = fs::read_dir(STATE).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

fn assert_refused(function: &Function, parts: &[&str]) {
    let before = function.state();
    let complaint = complaint(&["pci", "bind", function.0]);
    for part in parts.iter().chain(&[function.0]) {
        assert!(complaint.contains(part), "{part:?} is not in: {complaint}");
    }
    assert_eq!(function.state(), before);
    assert_eq!(records(), Vec::<String>::new());
}

#[test]
fn a_disk_is_bound_when_it_is_not_mounted_and_comes_back_whole() {
    let nvme = Function(NVME);
    let before = nvme.state();
    let disk = nvme.disk();
    tool(&["mke2fs", &disk]);
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("a disk");
    fs::create_dir(&mounted).unwrap();
    let mounted = mounted.to_str().unwrap();
    tool(&["mount", "-t", "ext2", &disk, mounted]);
    fs::write(format!("{mounted}/file"), "is still there").unwrap();
    assert_refused(&nvme, &["nvme", &format!("is mounted on {mounted}"), "umount", "or force it"]);
    tool(&["umount", mounted]);

    assert_eq!(nvme.change("bind"), ": nvme -> vfio-pci");
    assert!(!Path::new(&disk).exists());
    assert_eq!(nvme.change("bind"), ": vfio-pci (bound to it already)");
    assert_eq!(nvme.change("unbind"), ": vfio-pci -> no driver");
    assert_eq!(nvme.change("restore"), ": no driver -> nvme");
    assert_eq!((nvme.state(), records()), (before, vec![]));

    let disk = nvme.disk();
    tool(&["mount", "-t", "ext2", &disk, mounted]);
    assert_eq!(fs::read_to_string(format!("{mounted}/file")).unwrap(), "is still there");
    tool(&["umount", mounted]);
    File::options().write(true).open(&disk).unwrap().write_all_at(&[0; 4096], 0).unwrap();
}

#[test]
fn swap_space_and_a_disk_that_somebody_claims_stay() {
    let nvme = Function(NVME);
    let disk = nvme.disk();
    tool(&["mkswap", &disk]);
    tool(&["swapon", &disk]);
    assert_refused(&nvme, &["is swap space", &format!("swapoff {disk}")]);
    tool(&["swapoff", &disk]);
    let exclusive = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap();
    let claim = File::options().read(true).write(true).custom_flags(exclusive).open(&disk).unwrap();
    assert_refused(&nvme, &["is taken by another program"]);
    claim.write_all_at(&[0; 4096], 0).unwrap();
    drop(claim);
    assert_eq!(nvme.change("bind"), ": nvme -> vfio-pci");
    nvme.restore();
    nvme.disk();
}

#[test]
fn an_interface_is_taken_when_it_is_down() {
    let card = Function(CARD);
    let mut names = fs::read_dir(card.path("net")).unwrap();
    let interface = names.next().unwrap().unwrap().file_name().into_string().unwrap();
    tool(&["ip", "link", "set", &interface, "up"]);
    assert_refused(&card, &[&format!("{interface} is up (ip link set {interface} down)")]);
    tool(&["ip", "addr", "add", "192.0.2.1/24", "dev", &interface]);
    tool(&["ip", "route", "add", "default", "dev", &interface]);
    assert_refused(&card, &[&format!("{interface} carries the default route")]);
    tool(&["ip", "route", "del", "default", "dev", &interface]);
    tool(&["ip", "addr", "flush", "dev", &interface]);
    tool(&["ip", "link", "set", &interface, "down"]);

    // What somebody else wanted for it stays so.
    fs::write(card.path("driver_override"), "e1000e").unwrap();
    let before = card.state();
    assert_eq!(card.change("bind"), ": e1000e -> vfio-pci");
    card.restore();
    let after = card.state();
    assert_eq!((&after.driver, &after.driver_override), (&before.driver, &before.driver_override));
    fs::write(card.path("driver_override"), "\n").unwrap();
}

#[test]
fn bridges_stay_by_force_too() {
    for bridge in BRIDGES {
        assert_refused(&Function(bridge), &["is a bridge"]);
        let forced = run(&["pci", "bind", "--force", bridge]);
        assert_eq!(forced.status, 1);
        assert!(forced.stderr.contains("is a bridge"), "{}", forced.stderr);
    }
}

#[test]
fn a_function_without_driver_is_left_without_one() {
    let edu = Function(EDU);
    let before = edu.state();
    assert_eq!(before.driver, None);
    let bound = machine::json(&["pci", "bind", EDU]);
    let override_of = |name: Option<&str>| json!({"driver": name, "driver_override": name});
    let row = json!([{
        "address": EDU, "before": override_of(None), "after": override_of(Some("vfio-pci")),
        "remark": null, "error": null,
    }]);
    assert_eq!(bound, row);
    let restored = run(&["pci", "restore"]);
    assert_eq!(restored.stdout, format!("{EDU}: vfio-pci -> no driver\n"));
    assert_eq!((edu.state(), records()), (before, vec![]));
    assert!(run(&["pci", "restore"]).stdout.starts_with("Nothing to restore"));
}

#[test]
fn one_that_fails_keeps_no_other() {
    let edu = Function(EDU);
    let ran = run(&["pci", "bind", BRIDGES[0], EDU, "0000:7f:00.0", EDU]);
    assert_eq!((ran.status, ran.stdout), (1, format!("{EDU}: no driver -> vfio-pci\n")));
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    edu.restore();
}

#[test]
fn a_function_with_virtual_functions_stays() {
    let parent = Function(PARENT);
    fs::write(parent.path("sriov_drivers_autoprobe"), "0").unwrap();
    fs::write(parent.path("sriov_numvfs"), "2").unwrap();
    let before = parent.driver();
    assert_refused(
        &parent,
        &["it has the virtual function 0000:02:00.1 (no driver;", "sriov_numvfs"],
    );
    let forced = run(&["pci", "bind", "--force", PARENT]);
    assert_eq!(forced.status, 1);
    for part in ["is not bound to vfio-pci, and is as it was", "its virtual functions", "busy"] {
        assert!(forced.stderr.contains(part), "{part:?} is not in: {}", forced.stderr);
    }
    assert_eq!((parent.driver(), records()), (before, vec![]));

    let virtual_function = Function("0000:02:00.1");
    assert_eq!(virtual_function.change("bind"), ": no driver -> vfio-pci");
    fs::write(parent.path("sriov_numvfs"), "0").unwrap();
    fs::write(parent.path("sriov_drivers_autoprobe"), "1").unwrap();
    assert_eq!(
        virtual_function.change("restore"),
        ": no driver (it is gone: its record is dropped)"
    );
    assert_eq!(parent.change("bind"), ": nvme -> vfio-pci");
    parent.restore();
}

#[test]
fn a_device_that_is_open_is_held_until_it_is_closed() {
    let edu = Function(EDU);
    let before = edu.state();
    edu.change("bind");
    let sysfs = Path::new("bus/pci/devices").join(EDU);
    let device = machine::vfio().open(&Target { name: EDU.to_owned(), sysfs }).unwrap();
    let holder = format!("process {} (", std::process::id());
    for command in ["unbind", "restore"] {
        let complaint = complaint(&["pci", command, EDU]);
        assert!(complaint.contains(&holder) && complaint.contains("force"), "{complaint}");
    }
    assert_eq!(edu.driver().as_deref(), Some("vfio-pci"));

    let mut forced = machine::mdevbus();
    forced.args(["pci", "unbind", "--force", EDU]).stderr(Stdio::piped());
    let mut forced = forced.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(forced.stderr.take().unwrap()).read_line(&mut said).unwrap();
    for part in ["the kernel has not finished to unbind", &holder, "and must close it"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(forced.try_wait().unwrap().is_none(), "the kernel keeps its thread");
    drop(device);
    assert_eq!(forced.wait().unwrap().code(), Some(1));
    assert_eq!(edu.driver(), None);
    edu.restore();
    assert_eq!(edu.state(), before);
}

/// Writes, until it is killed.
#[derive(Debug)]
struct Mortal {
    sysfs: Sysfs,
    left: AtomicUsize,
}

impl Attributes for Mortal {
    fn write(&self, path: &Path, text: &str) -> Result<(), SysfsError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        self.sysfs.write(path, text)
    }
}

/// In a process of its own: binds, and is killed before a write.
fn bind_and_die(order: &str) {
    let (write, address) = order.split_once(' ').unwrap();
    let left = AtomicUsize::new(write.parse().unwrap());
    let attributes = Arc::new(Mortal { sysfs: Sysfs::new(Host::system()), left });
    let binder = Binder::new(Host::system(), STATE).attributes(attributes);
    binder.bind(address.parse().unwrap(), "vfio-pci", Force::No).unwrap();
}

#[test]
fn killed_before_any_write_the_machine_is_as_before_once_restored() {
    if let Ok(order) = std::env::var(DIE_AT) {
        return bind_and_die(&order);
    }
    for (function, writes) in [(Function(NVME), 3), (Function(EDU), 2)] {
        let before = function.state();
        let mut deaths = 0;
        loop {
            let name =
                "pci_binding::killed_before_any_write_the_machine_is_as_before_once_restored";
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name]).env(DIE_AT, format!("{} {}", deaths + 1, function.0));
            let output = child.output().unwrap();
            assert_eq!(records().len(), 1, "{}", String::from_utf8_lossy(&output.stdout));
            let was_killed = output.status.signal() == Some(Signal::KILL.as_raw());
            if was_killed {
                deaths += 1;
            } else {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
                assert_eq!(function.driver().as_deref(), Some("vfio-pci"));
            }
            function.restore();
            assert_eq!(function.state(), before, "{deaths} writes");
            if !was_killed {
                break;
            }
        }
        assert_eq!(deaths, writes);
    }
    Function(NVME).disk();
}

#[test]
fn killed_at_any_moment_the_machine_is_as_before_once_restored() {
    const KILLS: u32 = 24;
    let nvme = Function(NVME);
    nvme.disk();
    let before = nvme.state();
    let start = Instant::now();
    nvme.change("bind");
    let whole = start.elapsed();
    nvme.restore();
    let mut unfinished = 0;
    for number in 0..KILLS {
        let mut program = machine::mdevbus();
        program.args(["pci", "bind", NVME]).stdout(Stdio::null());
        let mut program = program.spawn().unwrap();
        thread::sleep(whole * number / KILLS);
        program.kill().unwrap();
        let killed = program.wait().unwrap().signal().is_some();
        unfinished += u32::from(killed);
        nvme.restore();
        assert_eq!(nvme.state(), before, "killed after {number}/{KILLS} of {whole:?}");
    }
    assert!(unfinished > 0, "none was killed in time");
    nvme.disk();
}
