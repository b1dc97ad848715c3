//! The two routes, and devices whose nodes somebody else opens.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use vfio_common::iommu::{DeviceAccess, DmaBuffer};
use vfio_common::route::{Nodes, OpenError, Opener as _, Route, Target, Vfio, adopt};
use vfio_common::sysfs::Host;

use crate::machine::{self, Created, route, target};
use crate::pci_function::EDU;
use crate::vfio_pci::Bound;

fn the_route() -> Route {
    if route() == "cdev" { Route::Cdev } else { Route::Group }
}

fn vfio(route: Route) -> Vfio {
    Vfio::new(Host::system()).route(route)
}

#[test]
fn a_device_that_is_open_by_one_route_is_busy_on_the_other() {
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let (this, other) = match the_route() {
        Route::Cdev => (Route::Cdev, Route::Group),
        _ => (Route::Group, Route::Cdev),
    };
    let open = vfio(this).open(&target(&created)).unwrap();
    let error = vfio(other).open(&target(&created)).unwrap_err();
    assert!(error.to_string().contains("has it open, and it opens only once"), "{error}");
    drop(open);
    vfio(other).open(&target(&created)).unwrap();
}

#[test]
fn two_openers_cannot_have_one_device_in_two_address_spaces() {
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let first = vfio(the_route());
    let open = first.open(&target(&created)).unwrap();
    let error = vfio(the_route()).open(&target(&created)).unwrap_err();
    assert!(
        error.to_string().contains("open it") || error.to_string().contains("open its"),
        "{error}"
    );
    drop(open);
    vfio(the_route()).open(&target(&created)).unwrap();
}

#[test]
fn devices_of_one_group_are_not_in_two_address_spaces() {
    let [one, other] = ["0000:01:01.0", "0000:01:02.0"].map(Bound::new);
    let first = vfio(the_route());
    let open = first.open(&one.target()).unwrap();
    let error = vfio(the_route()).open(&other.target()).unwrap_err();
    let text = error.to_string();
    match the_route() {
        Route::Cdev => {
            assert!(matches!(error, OpenError::OtherOwner { .. }), "{error:?}");
            let process = format!("this process ({}, ", std::process::id());
            assert!(text.contains(&process) && text.contains("one `Vfio`"), "{text}");
        }
        _ => assert!(matches!(error, OpenError::OtherContainer { .. }), "{error:?}"),
    }
    let both = first.open(&other.target()).unwrap();
    drop((open, both));
    vfio(the_route()).open(&other.target()).unwrap();
}

#[test]
fn a_device_that_does_not_reach_what_is_mapped_is_kept_out() {
    /// Where messages of interrupts go.
    const INTERRUPTS: u64 = 0xfee0_0000;
    let (card, edu) = (Created::new("mtty", "mtty-1"), Bound::new(EDU));
    let vfio = vfio(the_route());
    let _card = vfio.open(&target(&card)).unwrap();
    let space = vfio.address_space().unwrap();
    let buffer = DmaBuffer::builder(4096, DeviceAccess::READ).at(INTERRUPTS).build(&space);
    let buffer = buffer.unwrap();
    let text = vfio.open(&edu.target()).unwrap_err().to_string();
    assert!(text.contains("mapped at addresses that") && text.contains("unmap it"), "{text}");
    assert!(buffer.is_mapped());
    drop(buffer);
    vfio.open(&edu.target()).unwrap();
}

/// Passes descriptors over a socket, as a broker with more privileges would.
#[derive(Debug)]
struct Broker(Mutex<UnixStream>);

impl Broker {
    fn start() -> Self {
        let (mine, broker) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            // One name a line.
            for name in BufReader::new(&broker).lines() {
                let path = Path::new("/dev").join(name.unwrap());
                let node = std::fs::File::options().read(true).write(true).open(path).unwrap();
                send(&broker, &node.into());
            }
        });
        Self(Mutex::new(mine))
    }
}

impl Nodes for Broker {
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let socket = self.0.lock().unwrap();
        writeln!(&*socket, "{name}")?;
        receive(&socket).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn send(socket: &UnixStream, fd: &OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(socket, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
}

fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).unwrap();
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}

#[test]
fn a_broker_opens_the_nodes_and_passes_them_over_a_socket() {
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let broker = Arc::new(Broker::start());
    // Nothing below this /dev: all nodes come from the broker.
    let host = Host::new("/sys", "/nonexistent");
    let vfio = Vfio::new(host).route(the_route()).nodes(broker);
    let device = vfio.open(&target(&created)).unwrap();
    assert_eq!(device.region(0).unwrap().read32(0).unwrap(), 0x7370_6172);
}

/// In a process of its own: opens a device, and sends it to who has the other end of standard input.
fn open_and_send(uuid: &str) {
    let sysfs = Path::new("bus/mdev/devices").join(uuid);
    let device = vfio(the_route()).open(&Target { name: uuid.to_owned(), sysfs }).unwrap();
    device.region(1).unwrap().write32(0, 77).unwrap();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    send(&socket, &device.descriptor().unwrap().try_clone_to_owned().unwrap());
}

#[test]
fn a_device_that_another_process_opened_is_adopted() {
    const NAME: &str = "routes::a_device_that_another_process_opened_is_adopted";
    /// Set for the process that opens: which device.
    const SENT: &str = "MDEVBUS_TEST_SENT";
    if let Ok(uuid) = std::env::var(SENT) {
        return open_and_send(&uuid);
    }
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut opener = Command::new(std::env::current_exe().unwrap());
    opener.args(["--exact", NAME, "--nocapture"]).env(SENT, &created.uuid);
    let ran = machine::ran(opener.stdin(OwnedFd::from(theirs)).output().unwrap());
    assert!(ran.status == 0 && ran.stdout.contains("1 passed"), "{}{}", ran.stdout, ran.stderr);

    let adopted = adopt(&created.uuid, receive(&ours).unwrap()).unwrap();
    let region = adopted.region(1).unwrap();
    assert_eq!(region.read32(0).unwrap(), 77);
    assert_eq!(region.mapped().len(), 1);

    let file = std::fs::File::open("/etc/passwd").unwrap();
    let error = adopt("a file", file.into()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read what kind of device a file is");
}
