//! What kind of device it is.

use vfio_bindings::bindings::vfio as sys;

use crate::region::{Chain, ChainError};

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

bitflags::bitflags! {
    /// Atomic operations of the device that the root port completes, by their width: `flags` of
    /// `struct vfio_device_info_cap_pci_atomic_comp` (Linux 6.5). Bits that this crate does not know are
    /// kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PciAtomics: u32 {
        /// Of 32 bits.
        const WIDTH_32 = sys::VFIO_PCI_ATOMIC_COMP32;
        /// Of 64 bits.
        const WIDTH_64 = sys::VFIO_PCI_ATOMIC_COMP64;
        /// Of 128 bits.
        const WIDTH_128 = sys::VFIO_PCI_ATOMIC_COMP128;
        const _ = !0;
    }
}

/// `struct vfio_device_info` with the capability that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Kind and abilities.
    pub flags: DeviceFlags,
    /// The highest region index the device announces, plus one. Some devices answer for more.
    pub num_regions: u32,
    /// The highest interrupt index the device announces, plus one.
    pub num_irqs: u32,
    /// Atomic operations that reach memory; empty when the kernel says nothing of them.
    pub pci_atomics: PciAtomics,
}

impl DeviceInfo {
    /// Length of the struct without its capabilities, in bytes, before Linux 6.6 gave it padding.
    const FIXED_LENGTH: usize = 20;

    /// A device without capabilities.
    #[must_use]
    pub fn new(flags: DeviceFlags, num_regions: u32, num_irqs: u32) -> Self {
        Self { flags, num_regions, num_irqs, pci_atomics: PciAtomics::empty() }
    }

    /// Reads `struct vfio_device_info` and its capability chain from the bytes that the kernel filled
    /// in. Most kernel drivers fill in 16, without the chain's offset.
    ///
    /// # Errors
    /// [`ChainError`] when the bytes are too few or the chain leads astray. Unknown capabilities, and
    /// those of PCI on s390, are no error.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChainError> {
        let field = |offset| crate::region::read_u32(bytes, offset);
        let flags = DeviceFlags::from_bits_retain(field(4)?);
        let mut info = Self::new(flags, field(8)?, field(12)?);
        if !flags.contains(DeviceFlags::CAPS) {
            return Ok(info);
        }
        // A driver that says so and asks for no more room has none: `argsz` counts, not the flag.
        let first = field(16).unwrap_or_default();
        let mut seen = None;
        for capability in Chain::new(bytes, Self::FIXED_LENGTH, first) {
            let capability = capability?;
            if u32::from(capability.id) == sys::VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP {
                capability.once(&seen)?;
                info.pci_atomics = PciAtomics::from_bits_retain(capability.first_word()?);
                seen = Some(());
            }
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: u32 = sys::VFIO_DEVICE_FLAGS_PCI | sys::VFIO_DEVICE_FLAGS_CAPS;

    /// A struct of which the first capability is right behind it, as the kernel lays it out.
    fn bytes(fields: &[u32], capabilities: &[u32]) -> Vec<u8> {
        fields.iter().chain(capabilities).flat_map(|field| field.to_ne_bytes()).collect()
    }

    #[test]
    fn most_drivers_fill_in_16_bytes() {
        let info = DeviceInfo::parse(&bytes(&[16, 2, 9, 5], &[])).unwrap();
        assert_eq!(info, DeviceInfo::new(DeviceFlags::PCI, 9, 5));
        // What lies behind them means nothing unless they say so.
        let info = DeviceInfo::parse(&bytes(&[24, 2, 9, 5], &[u32::MAX, 7])).unwrap();
        assert_eq!(info, DeviceInfo::new(DeviceFlags::PCI, 9, 5));
    }

    #[test]
    fn atomics_are_found_behind_capabilities_that_are_unknown_with_and_without_padding() {
        for fields in [&[76, CAPS, 9, 5, 24, 0][..], &[72, CAPS, 9, 5, 20]] {
            let start = u32::try_from(fields.len() * 4).unwrap();
            // Of PCI on s390, one that nobody knows, and the one that is wanted with a bit too many.
            let zpci = [(1 << 16) | 2, start + 16, 1, 2];
            let unknown = [(3 << 16) | 0x7fff, start + 28, 3];
            let atomics = [(1 << 16) | 5, 0, 0b1011, 0];
            let chain = [&zpci[..], &unknown, &atomics].concat();
            let info = DeviceInfo::parse(&bytes(fields, &chain)).unwrap();
            let expected = PciAtomics::WIDTH_32 | PciAtomics::WIDTH_64;
            assert_eq!(info.pci_atomics, expected | PciAtomics::from_bits_retain(8));
        }
        for none in [&[24, CAPS, 9, 5, 0, 0][..], &[16, CAPS, 9, 5]] {
            let info = DeviceInfo::parse(&bytes(none, &[])).unwrap();
            assert_eq!(info.pci_atomics, PciAtomics::empty());
        }
    }

    #[test]
    fn a_chain_that_leads_astray_is_an_error() {
        let one = [(1 << 16) | 5, 24, 1, 0];
        let refused = |first: u32, chain: &[u32]| {
            DeviceInfo::parse(&bytes(&[64, CAPS, 9, 5, first, 0], chain)).unwrap_err()
        };
        assert!(matches!(refused(16, &one), ChainError::Backwards { .. }));
        assert!(matches!(refused(24, &one), ChainError::Backwards { .. }));
        assert!(matches!(refused(100, &one), ChainError::Truncated { .. }));
        assert!(matches!(refused(24, &one[..2]), ChainError::Backwards { .. }));
        assert!(matches!(refused(24, &[(1 << 16) | 5, 0]), ChainError::Truncated { .. }));
        let twice = [(1 << 16) | 5, 40, 1, 0, (1 << 16) | 5, 0, 1, 0];
        assert!(matches!(refused(24, &twice), ChainError::Repeated { id: 5 }));
        let whole = bytes(&[64, CAPS, 9, 5, 24, 0], &twice);
        for length in 0..whole.len() {
            // Whatever it says, it does not panic.
            let _ = DeviceInfo::parse(&whole[..length]);
        }
    }
}
