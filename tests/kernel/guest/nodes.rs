//! What is in the way of the device nodes: they are not there, lead nowhere, or are forbidden. Owner and
//! mode have tests in `refusals` and `doctor`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::machine::{self, Created, Ran, device_node, group_node, nodes, ran};

/// A `/dev` with links to what it is to have.
struct Dev(TempDir);

impl Dev {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where a node is in it.
    fn path(&self, node: &Path) -> PathBuf {
        let path = self.0.path().join(node.strip_prefix("/dev").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn link(&self, node: &Path, to: &Path) {
        symlink(to, self.path(node)).unwrap();
    }

    /// What opening a device says, and what the diagnosis says before. Both must fail.
    fn refusals(&self, device: &Created) -> [String; 2] {
        let run = |command| {
            let root = self.0.path().to_str().unwrap();
            machine::run(&["--dev", root, command, &device.uuid])
        };
        refusals(run("show"), run("doctor"))
    }
}

fn refusals(shown: Ran, diagnosed: Ran) -> [String; 2] {
    assert_eq!((shown.status, diagnosed.status), (1, 1), "{}{}", shown.stderr, diagnosed.stdout);
    [shown.stderr, diagnosed.stdout]
}

#[track_caller]
fn assert_parts(texts: &[String], parts: &[&str]) {
    for text in texts {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

fn busybox(arguments: &[&str]) {
    assert!(Command::new("/bin/busybox").args(arguments).status().unwrap().success());
}

#[test]
fn a_shared_node_that_is_missing_or_leads_nowhere_names_its_module() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let [own, shared] = nodes(&device);
    let (dev, module) = (Dev::new(), if machine::route() == "cdev" { "iommufd" } else { "vfio" });
    dev.link(&own, &own);
    let here = dev.path(&shared);
    let ways_out = [&format!("modprobe {module}"), &format!("--device {}", shared.display())];
    let ways_out = ways_out.map(String::as_str);
    let texts = dev.refusals(&device);
    assert_parts(&texts, &[here.to_str().unwrap()]);
    assert_parts(&texts, &ways_out);
    assert_parts(&texts[..1], &["No such file or directory"]);

    // A node for which the kernel has no driver: only opening it shows that.
    busybox(&["mknod", here.to_str().unwrap(), "c", "10", "250"]);
    let root = dev.0.path().to_str().unwrap();
    let error = machine::complaint(&["--dev", root, "show", &device.uuid]);
    assert_parts(&[error], &[&ways_out[..], &["No such device"]].concat());
}

#[test]
fn a_node_of_a_device_that_is_missing_or_of_another_device_is_told_from_sysfs() {
    let (device, other) = (Created::new("mtty", "mtty-1"), Created::new("mtty", "mtty-1"));
    let ([own, shared], [others, _]) = (nodes(&device), nodes(&other));
    let dev = Dev::new();
    dev.link(&shared, &shared);
    let here = dev.path(&own);
    let texts = dev.refusals(&device);
    let remedy = format!("--device {}", here.display());
    assert_parts(&texts, &["is not there, though sysfs has it", &remedy, "udevadm trigger"]);
    assert_parts(&texts[..1], &["No such file or directory"]);

    dev.link(&own, &others);
    let stale = format!(
        "{} is stale: it is device {}, and sysfs says {}",
        here.display(),
        number(&others),
        number(&own)
    );
    assert_parts(&dev.refusals(&device), &[&stale]);
}

/// A device cgroup that forbids a node, as that of a container does.
struct Jail(TempDir);

impl Jail {
    fn forbidding(node: &Path) -> Self {
        let jail = Self(tempfile::tempdir().unwrap());
        let mounted = jail.0.path().to_str().unwrap();
        busybox(&["mount", "-t", "cgroup", "-o", "devices", "devices", mounted]);
        fs::create_dir(jail.group()).unwrap();
        fs::write(jail.group().join("devices.deny"), format!("c {} rwm", number(node))).unwrap();
        jail
    }

    fn group(&self) -> PathBuf {
        self.0.path().join("jail")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let program = std::env::var("MDEVBUS_BIN").unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]);
        shell.arg(self.group().join("cgroup.procs")).arg(program).args(arguments);
        ran(shell.output().unwrap())
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.group());
        let mounted = self.0.path().to_str().unwrap_or_default();
        let _ = Command::new("/bin/busybox").args(["umount", mounted]).status();
    }
}

fn number(node: &Path) -> String {
    let rdev = fs::metadata(node).unwrap().rdev();
    format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

#[test]
fn a_node_that_the_device_cgroup_forbids_is_to_be_passed_to_the_container() {
    let device = Created::new("mtty", "mtty-1");
    let (route, uuid) = (machine::route(), device.uuid.as_str());
    for node in nodes(&device) {
        let jail = Jail::forbidding(&node);
        let run = |command| jail.run(&["--route", &route, command, uuid]);
        let texts = refusals(run("show"), run("doctor"));
        let remedy = format!("--device {}", node.display());
        assert_parts(&texts, &[node.to_str().unwrap(), "device cgroup", &remedy]);
        assert_parts(&texts[..1], &["Operation not permitted"]);
        assert_parts(&texts[1..], &[&format!("allow `c {} rw`", number(&node))]);
    }
}

/// A container that was given the group only.
#[test]
fn a_node_that_the_device_cgroup_forbids_leaves_the_other_route() {
    let device = Created::new("mtty", "mtty-1");
    for node in [device_node(&device), group_node(&device)] {
        let jail = Jail::forbidding(&node);
        for command in ["show", "doctor"] {
            let ran = jail.run(&["--route", "auto", command, &device.uuid]);
            assert_eq!(ran.status, 0, "{}: {}{}", node.display(), ran.stdout, ran.stderr);
        }
    }
}
