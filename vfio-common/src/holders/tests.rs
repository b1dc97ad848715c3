use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A `/proc` and a `/dev` of files.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev/vfio/devices")).unwrap();
        fs::create_dir_all(root.path().join("proc/sys")).unwrap();
        for node in ["vfio", "7", "8", "devices/vfio3"] {
            fs::write(root.path().join("dev/vfio").join(node), "").unwrap();
        }
        symlink("42", root.path().join("proc/self")).unwrap();
        Self(root)
    }

    fn host(&self) -> Host {
        Host::new("/sys", self.0.path().join("dev")).with_proc(self.0.path().join("proc"))
    }

    fn node(&self, name: &str) -> PathBuf {
        self.0.path().join("dev/vfio").join(name)
    }

    fn process(&self, pid: u32, command: &str, files: &[&Path]) -> PathBuf {
        let dir = self.0.path().join("proc").join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::create_dir_all(dir.join("fdinfo")).unwrap();
        fs::write(dir.join("comm"), format!("{command}\n")).unwrap();
        for (fd, file) in files.iter().enumerate() {
            symlink(file, dir.join("fd").join(fd.to_string())).unwrap();
        }
        dir
    }

    fn holders(&self, node: &str, device: &str) -> Holders {
        OpenFiles::read(&self.host()).holders(&[self.node(node)], &[device.to_owned()])
    }
}

fn pids(holders: &[Holder]) -> Vec<u32> {
    holders.iter().map(|holder| holder.pid).collect()
}

#[test]
fn a_node_is_told_from_others_and_the_asking_process_from_others() {
    let fake = Fake::new();
    let device = Path::new(DEVICE);
    fake.process(7, "qemu", &[Path::new("/nowhere"), &fake.node("7"), device]);
    fake.process(42, "me", &[&fake.node("7")]);
    fake.process(9, "other", &[&fake.node("8"), device]);
    fake.process(10, "container-only", &[&fake.node("vfio")]);
    let holders = fake.holders("7", "a");
    assert_eq!(pids(&holders.certain), [7, 42]);
    assert!(holders.possible.is_empty(), "who has another group has another device");
    assert_eq!(holders.to_string(), "process 7 (qemu), this process (42, me) has it open");
    assert!(fake.holders("devices/vfio3", "a").certain.is_empty());
}

#[test]
fn a_device_alone_is_only_named_where_the_kernel_names_it() {
    let fake = Fake::new();
    let device = Path::new(DEVICE);
    let dir = fake.process(5, "broker's child", &[&fake.node("vfio"), device]);
    let holders = fake.holders("7", "0000:01:00.0");
    assert_eq!((pids(&holders.certain), pids(&holders.possible)), (vec![], vec![5]));
    assert!(holders.to_string().contains("maybe this one"), "{holders}");

    let info = "pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:01:00.0\n";
    fs::write(dir.join("fdinfo/1"), info).unwrap();
    assert_eq!(pids(&fake.holders("7", "0000:01:00.0").certain), [5]);
    let other = fake.holders("7", "0000:01:00.1");
    assert_eq!((other.certain.len(), other.possible.len()), (0, 0));
}

#[test]
fn mappings_hold_too() {
    let fake = Fake::new();
    let found = fs::metadata(fake.node("devices/vfio3")).unwrap();
    let number = found.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let line = |path: &str| {
        format!(
            "7f0000000000-7f0000001000 rw-s 00000000 {major:02x}:{minor:02x} {} {path}\nodd\n",
            found.ino()
        )
    };
    let by_cdev = fake.process(3, "mapper", &[]);
    fs::write(by_cdev.join("maps"), line("/dev/vfio/devices/vfio3")).unwrap();
    let by_group = fake.process(4, "gone-fd", &[]);
    fs::write(by_group.join("maps"), line(DEVICE)).unwrap();
    let holders = fake.holders("devices/vfio3", "a");
    assert_eq!((pids(&holders.certain), pids(&holders.possible)), (vec![3], vec![4]));
}

#[test]
fn what_cannot_be_read_is_counted_and_nothing_spoils_the_sentence() {
    let fake = Fake::new();
    let root = fake.0.path().join("proc");
    fs::create_dir(root.join("11")).unwrap();
    fs::write(root.join("12"), "no directory").unwrap();
    fs::create_dir(root.join("13")).unwrap();
    fs::write(root.join("13/fd"), "no directory either").unwrap();
    fake.process(14, "\u{1b}[2J\nevil", &[&fake.node("7")]);
    let holders = fake.holders("7", "a");
    assert_eq!(holders.unreadable, 2, "11 has ended");
    assert_eq!(holders.to_string(), "process 14 (?[2J?evil) has it open");
    assert!(fake.holders("8", "a").to_string().contains("run as root to see which (2 processes"));
    let nowhere = Host::new("/sys", "/dev").with_proc("/no-such-proc");
    assert_eq!(OpenFiles::read(&nowhere).unreadable(), 0);
}
