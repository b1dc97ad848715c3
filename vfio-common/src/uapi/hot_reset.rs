//! Ioctls of a PCI device about the reset of its bus or slot.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::io::Errno;
use vfio_bindings::bindings::vfio as sys;

use super::{DeviceFd, argsz, call};
use crate::device::{Affected, HotResetInfo, Ownership};

/// `struct vfio_pci_hot_reset_info` without its array: `argsz`, `flags`, `count`.
const HEADER_LENGTH: usize = 12;
/// `struct vfio_pci_dependent_device`.
const ENTRY_LENGTH: usize = 8;
/// Rounds before giving up: devices come and go between two calls, but not for ever.
const MOST_ROUNDS: usize = 8;
/// Functions of a PCI segment.
const MOST_DEVICES: usize = 1 << 16;
/// `VFIO_PCI_DEVID_NOT_OWNED`, -1 in the header.
const NOT_OWNED: u32 = u32::MAX;

impl DeviceFd {
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`. Unlike the other descriptions, it fails with `ENOSPC` when
    /// the buffer is short, and says how many devices there are.
    pub(crate) fn hot_reset_info(&self) -> io::Result<HotResetInfo> {
        fetch(|buffer| call::sized(self.as_fd(), call::vfio(12), buffer))
    }

    /// `VFIO_DEVICE_PCI_HOT_RESET`, with the groups of all devices on the group route and with none for
    /// a device that is bound to an iommufd.
    pub(crate) fn hot_reset(&self, groups: &[BorrowedFd<'_>]) -> io::Result<()> {
        let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let groups: Vec<u8> =
            groups.iter().flat_map(|group| group.as_raw_fd().to_ne_bytes()).collect();
        // flags; count; group_fds.
        let mut buffer = argsz::buffer(&[&[0; 4], &count.to_ne_bytes(), &groups])?;
        call::sized(self.as_fd(), call::vfio(13), &mut buffer).map(drop)
    }
}

fn fetch(mut call: impl FnMut(&mut [u64]) -> io::Result<i32>) -> io::Result<HotResetInfo> {
    let mut room = 0;
    for _ in 0..MOST_ROUNDS {
        let entries = vec![0; room * ENTRY_LENGTH];
        let mut buffer = argsz::buffer(&[&[0; HEADER_LENGTH - 4], &entries])?;
        let answer = call(&mut buffer);
        let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        match answer {
            Ok(_) => return Ok(parse(&bytes, room)),
            Err(error) if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) => {
                room = count(&bytes);
            }
            Err(error) => return Err(error),
        }
        if room > MOST_DEVICES {
            return Err(io::Error::other("the kernel tells of more devices than a bus can have"));
        }
    }
    Err(io::Error::other("the kernel tells of more devices at every call"))
}

fn count(bytes: &[u8]) -> usize {
    u32_at(bytes, 8) as usize
}

/// The first `room` entries at most.
fn parse(bytes: &[u8], room: usize) -> HotResetInfo {
    let by_iommufd = u32_at(bytes, 4) & sys::VFIO_PCI_HOT_RESET_FLAG_DEV_ID != 0;
    let (entries, _) = bytes.get(HEADER_LENGTH..).unwrap_or_default().as_chunks::<ENTRY_LENGTH>();
    let devices = entries.iter().take(count(bytes).min(room)).map(|entry| {
        let [a, b, c, d, e, f, bus, devfn] = *entry;
        let owner = match u32::from_ne_bytes([a, b, c, d]) {
            group if !by_iommufd => Ownership::Group(group),
            sys::VFIO_PCI_DEVID_OWNED => Ownership::SameGroup,
            NOT_OWNED => Ownership::NotOwned,
            id => Ownership::Iommufd(id),
        };
        let segment = u16::from_ne_bytes([e, f]);
        Affected { segment, bus, device: devfn >> 3, function: devfn & 7, owner }
    });
    HotResetInfo { devices: devices.collect(), by_iommufd }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kernel with these devices answers.
    fn answer(buffer: &mut [u64], flags: u32, entries: &[[u32; 2]]) -> io::Result<i32> {
        let argsz = argsz::low_half(buffer[0]) as usize;
        let room = (argsz - HEADER_LENGTH) / ENTRY_LENGTH;
        let count = u32::try_from(entries.len()).unwrap();
        if room < entries.len() {
            buffer[1] = argsz::halves(count, 0);
            return Err(Errno::NOSPC.into());
        }
        let header = [argsz::low_half(buffer[0]), flags, count];
        let mut bytes: Vec<u8> = header
            .iter()
            .chain(entries.as_flattened())
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        bytes.resize(buffer.len() * 8, 0);
        for (word, bytes) in buffer.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Ok(0)
    }

    /// Segment, bus and devfn as they lie in one word of a little-endian machine.
    fn place(segment: u16, bus: u8, devfn: u8) -> u32 {
        let [a, b] = segment.to_ne_bytes();
        u32::from_ne_bytes([a, b, bus, devfn])
    }

    #[test]
    fn the_list_grows_to_what_there_is() {
        let entries = [[7, place(0, 1, 0x08)], [7, place(0, 1, 0x11)], [9, place(3, 0xfe, 0xff)]];
        let mut calls = 0;
        let info = fetch(|buffer| {
            calls += 1;
            answer(buffer, 0, &entries[..calls.min(3)])
        });
        let info = info.unwrap();
        assert_eq!(calls, 4, "one more came in before each of three calls");
        let names: Vec<_> = info.devices.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["0000:01:01.0", "0000:01:02.1", "0003:fe:1f.7"]);
        assert_eq!(info.devices[2].owner, Ownership::Group(9));
    }

    #[test]
    fn ids_of_an_iommufd_say_who_owns_the_device() {
        let at = place(0, 1, 8);
        let flags = sys::VFIO_PCI_HOT_RESET_FLAG_DEV_ID;
        let info = fetch(|buffer| answer(buffer, flags, &[[0, at], [5, at], [u32::MAX, at]]));
        let owners: Vec<_> = info.unwrap().devices.iter().map(|device| device.owner).collect();
        assert_eq!(owners, [Ownership::SameGroup, Ownership::Iommufd(5), Ownership::NotOwned]);
    }

    #[test]
    fn endless_growth_absurd_counts_and_more_than_there_is_room_for_are_survived() {
        let mut count = 0;
        let endless = fetch(|buffer| {
            count += 1;
            buffer[1] = argsz::halves(count, 0);
            Err(Errno::NOSPC.into())
        });
        assert!(endless.unwrap_err().to_string().contains("at every call"));
        let absurd = fetch(|buffer| {
            buffer[1] = argsz::halves(u32::MAX, 0);
            Err(Errno::NOSPC.into())
        });
        assert!(absurd.unwrap_err().to_string().contains("more devices than"));
        let claims = fetch(|buffer| {
            buffer[1] = argsz::halves(1000, 0);
            Ok(0)
        });
        assert!(claims.unwrap().devices.is_empty());
    }
}
