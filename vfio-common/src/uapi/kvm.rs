//! Ioctls of KVM that link VFIO to a virtual machine (`include/uapi/linux/kvm.h`,
//! `Documentation/virt/kvm/devices/vfio.rst`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::ioctl::opcode;

use super::call::{self, Request};

/// `KVMIO`.
const TYPE: u8 = 0xae;
const GET_API_VERSION: Request = opcode::none(TYPE, 0x00) as Request;
const CREATE_VM: Request = opcode::none(TYPE, 0x01) as Request;
/// Its struct has three fields of 32 bits.
const CREATE_DEVICE: Request = opcode::read_write::<[u32; 3]>(TYPE, 0xe0) as Request;
/// `struct kvm_device_attr` has 24 bytes.
const SET_DEVICE_ATTR: Request = opcode::write::<[u64; 3]>(TYPE, 0xe1) as Request;
/// `KVM_CREATE_VM` of the architecture's default kind.
const DEFAULT_MACHINE: u8 = 0;
/// `KVM_DEV_TYPE_VFIO`.
const DEVICE_VFIO: u32 = 4;
/// `KVM_DEV_VFIO_FILE`, which was called `KVM_DEV_VFIO_GROUP` when it took groups alone (before Linux
/// 6.6), and its attributes.
const FILE: u32 = 1;
const FILE_ADD: u64 = 1;
const FILE_DEL: u64 = 2;

/// `/dev/kvm`, open.
#[derive(Debug)]
pub(crate) struct KvmFd(File);

impl KvmFd {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    /// `KVM_GET_API_VERSION`.
    pub(crate) fn api_version(&self) -> io::Result<i32> {
        call::number(self.0.as_fd(), GET_API_VERSION, 0)
    }

    /// `KVM_CREATE_VM`. The kernel makes the descriptor close-on-exec.
    pub(crate) fn create_vm(&self) -> io::Result<OwnedFd> {
        call::open_by_number(self.0.as_fd(), CREATE_VM, DEFAULT_MACHINE.into())
    }
}

/// The VFIO device of a virtual machine, which holds the machine.
#[derive(Debug)]
pub(crate) struct KvmVfioFd(OwnedFd);

impl KvmVfioFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// `KVM_CREATE_DEVICE` on a virtual machine. The kernel makes the descriptor close-on-exec.
    pub(crate) fn create(vm: BorrowedFd<'_>) -> io::Result<Self> {
        call::create_device(vm, CREATE_DEVICE, DEVICE_VFIO).map(Self)
    }

    /// `KVM_DEV_VFIO_FILE_ADD`: the machine is told of a group, or of a device that is not bound yet.
    /// It holds the file until it is told to let go.
    pub(crate) fn add(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.set(FILE_ADD, file)
    }

    /// `KVM_DEV_VFIO_FILE_DEL`.
    pub(crate) fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.set(FILE_DEL, file)
    }

    fn set(&self, attribute: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        call::set_attribute(self.0.as_fd(), SET_DEVICE_ATTR, FILE, attribute, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn request(number: u32) -> Request {
        number as Request
    }

    #[test]
    fn requests_have_the_numbers_of_the_header() {
        let found = [GET_API_VERSION, CREATE_VM, CREATE_DEVICE, SET_DEVICE_ATTR];
        assert_eq!(found, [0xae00, 0xae01, 0xc00c_aee0, 0x4018_aee1].map(request));
    }
}
