//! Ioctls of a device.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use vfio_bindings::bindings::vfio as sys;

use super::{IommuFd, argsz, call};
use crate::device::{
    DeviceInfo, EventWriteRequest, IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest,
};
use crate::mapping::{Mapping, Protection};
use crate::region::RegionInfo;

/// `struct vfio_device_info` up to the capability chain's offset, as every kernel knows it. Where there
/// is a chain, the kernel asks for more.
const DEVICE_INFO_LENGTH: usize = 16;
/// `struct vfio_irq_info`.
const IRQ_INFO_LENGTH: usize = 16;

/// `struct vfio_device_feature` without its data.
const FEATURE_LENGTH: usize = 8;

/// An open device.
#[derive(Debug)]
pub(crate) struct DeviceFd(File);

impl DeviceFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }

    /// `VFIO_DEVICE_BIND_IOMMUFD`, for a device that was opened by its character device: before it,
    /// the kernel refuses every other call.
    pub(crate) fn bind(&self, iommufd: &IommuFd) -> io::Result<()> {
        let iommufd = iommufd.file().as_raw_fd().to_ne_bytes();
        // flags, iommufd, out_devid.
        let mut buffer = argsz::buffer(&[&[0; 4], &iommufd, &[0; 4]])?;
        call::sized(self.0.as_fd(), call::vfio(18), &mut buffer).map(drop)
    }

    /// The same with a VF token, from Linux 6.17 on; older kernels say `EINVAL`.
    pub(crate) fn bind_with_token(&self, iommufd: &IommuFd, token: &[u8; 16]) -> io::Result<()> {
        let flags = sys::VFIO_DEVICE_BIND_FLAG_TOKEN.to_ne_bytes();
        let iommufd = iommufd.file().as_raw_fd().to_ne_bytes();
        // flags, iommufd, out_devid; token_uuid_ptr.
        let mut buffer = argsz::buffer(&[&flags, &iommufd, &[0; 4], &[0; 8]])?;
        call::sized_pointing(self.0.as_fd(), call::vfio(18), &mut buffer, 2, token).map(drop)
    }

    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`: puts a device that is bound into an address space.
    pub(crate) fn attach(&self, ioas: u32) -> io::Result<()> {
        // flags, pt_id.
        let mut buffer = argsz::buffer(&[&[0; 4], &ioas.to_ne_bytes()])?;
        call::sized(self.0.as_fd(), call::vfio(19), &mut buffer).map(drop)
    }

    /// `VFIO_DEVICE_GET_INFO`.
    pub(crate) fn info(&self) -> io::Result<DeviceInfo> {
        let bytes = self.fetch(7, DEVICE_INFO_LENGTH, None)?;
        DeviceInfo::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// `VFIO_DEVICE_GET_REGION_INFO`.
    pub(crate) fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        let bytes = self.fetch(8, RegionInfo::FIXED_LENGTH, Some(index))?;
        RegionInfo::parse(index, &bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    pub(crate) fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        let [_, flags, _, count] = words(&self.fetch(9, IRQ_INFO_LENGTH, Some(index))?);
        Ok(IrqInfo { index, flags: IrqFlags::from_bits_retain(flags), count })
    }

    /// `VFIO_DEVICE_SET_IRQS`.
    pub(crate) fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        let action = match request.action {
            IrqAction::Mask => sys::VFIO_IRQ_SET_ACTION_MASK,
            IrqAction::Unmask => sys::VFIO_IRQ_SET_ACTION_UNMASK,
            IrqAction::Trigger => sys::VFIO_IRQ_SET_ACTION_TRIGGER,
        };
        let (kind, data) = match request.data {
            IrqData::None { .. } => (sys::VFIO_IRQ_SET_DATA_NONE, Vec::new()),
            IrqData::Bool(vectors) => {
                (sys::VFIO_IRQ_SET_DATA_BOOL, vectors.iter().copied().map(u8::from).collect())
            }
            IrqData::EventFds(vectors) => {
                let number = |vector: &Option<BorrowedFd<'_>>| {
                    vector.map_or(-1, |fd| fd.as_raw_fd()).to_ne_bytes()
                };
                (sys::VFIO_IRQ_SET_DATA_EVENTFD, vectors.iter().flat_map(number).collect())
            }
        };
        let count = u32::try_from(request.data.count()).unwrap_or(u32::MAX);
        let fields = [action | kind, request.index, request.start, count].map(u32::to_ne_bytes);
        let mut buffer = argsz::buffer(&[fields.as_flattened(), &data])?;
        let granted = call::sized(self.0.as_fd(), call::vfio(10), &mut buffer)?;
        Ok(granted.unsigned_abs())
    }

    /// `VFIO_DEVICE_FEATURE`, for data that is neither descriptor nor address.
    pub(crate) fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let mut buffer = argsz::buffer(&[&flags.to_ne_bytes(), data])?;
        call::sized(self.0.as_fd(), call::vfio(17), &mut buffer)?;
        let filled = buffer.iter().flat_map(|word| word.to_ne_bytes()).skip(FEATURE_LENGTH);
        data.iter_mut().zip(filled).for_each(|(byte, filled)| *byte = filled);
        Ok(())
    }

    /// `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`.
    pub(crate) fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        const NO_DESCRIPTOR: i32 = -1;
        let flags = sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
        let fields = [flags.to_ne_bytes(), state.to_ne_bytes(), NO_DESCRIPTOR.to_ne_bytes()];
        let mut buffer = argsz::buffer(&[fields.as_flattened()])?;
        // argsz, flags, device_state, data_fd.
        call::sized_opening(self.0.as_fd(), call::vfio(17), &mut buffer, 3)
    }

    /// `VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP`.
    pub(crate) fn enter_low_power(&self, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
        // argsz, flags, wakeup_eventfd, reserved.
        let eventfd = wake_up.as_raw_fd().to_ne_bytes();
        let mut buffer = argsz::buffer(&[&flags.to_ne_bytes(), &eventfd, &[0; 4]])?;
        call::sized(self.0.as_fd(), call::vfio(17), &mut buffer).map(drop)
    }

    /// `VFIO_DEVICE_IOEVENTFD`.
    pub(crate) fn set_event_write(
        &self,
        write: EventWriteRequest,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let EventWriteRequest { offset, width, value } = write;
        let eventfd = eventfd.map_or(-1, |fd| fd.as_raw_fd());
        // argsz, flags; offset; data; fd, reserved. The flag of a width is the width.
        let mut buffer = argsz::buffer(&[
            &u32::from(width).to_ne_bytes(),
            &offset.to_ne_bytes(),
            &value.to_ne_bytes(),
            &eventfd.to_ne_bytes(),
            &[0; 4],
        ])?;
        call::sized(self.0.as_fd(), call::vfio(16), &mut buffer).map(drop)
    }

    /// `VFIO_DEVICE_RESET`.
    pub(crate) fn reset(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(11), 0).map(drop)
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    pub(crate) fn map(
        &self,
        offset: u64,
        length: usize,
        protection: Protection,
    ) -> io::Result<Mapping> {
        Mapping::new(&self.0, offset, length, protection)
    }

    fn fetch(&self, request: u8, fixed: usize, index: Option<u32>) -> io::Result<Vec<u8>> {
        let fill = |buffer: &mut [u64]| call::sized(self.0.as_fd(), call::vfio(request), buffer);
        argsz::fetch(fixed, index, fill)
    }
}

impl AsFd for DeviceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first four 32-bit fields of a struct; fields that are not there read 0.
fn words(bytes: &[u8]) -> [u32; 4] {
    let (fields, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| fields.get(at).map_or(0, |field| u32::from_ne_bytes(*field)))
}
