//! What kind of device it is.

use vfio_bindings::bindings::vfio as sys;

bitflags::bitflags! {
    /// `flags` of `struct vfio_device_info` (`include/uapi/linux/vfio.h`). Bits that this crate
    /// does not know are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DeviceFlags: u32 {
        /// The device can be reset. Some devices can although the bit is not set.
        const RESET = sys::VFIO_DEVICE_FLAGS_RESET;
        /// Regions and interrupts are those of a PCI function.
        const PCI = sys::VFIO_DEVICE_FLAGS_PCI;
        /// A platform device.
        const PLATFORM = sys::VFIO_DEVICE_FLAGS_PLATFORM;
        /// An AMBA device.
        const AMBA = sys::VFIO_DEVICE_FLAGS_AMBA;
        /// A channel device of s390.
        const CCW = sys::VFIO_DEVICE_FLAGS_CCW;
        /// A cryptographic adapter matrix of s390.
        const AP = sys::VFIO_DEVICE_FLAGS_AP;
        /// A device on the bus of NXP's management complex.
        const FSL_MC = sys::VFIO_DEVICE_FLAGS_FSL_MC;
        /// The information has a capability chain.
        const CAPS = sys::VFIO_DEVICE_FLAGS_CAPS;
        /// A device on AMD's CDX bus.
        const CDX = sys::VFIO_DEVICE_FLAGS_CDX;
        const _ = !0;
    }
}

/// `struct vfio_device_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Kind and abilities.
    pub flags: DeviceFlags,
    /// The highest region index the device announces, plus one. Some devices answer for more.
    pub num_regions: u32,
    /// The highest interrupt index the device announces, plus one.
    pub num_irqs: u32,
}
