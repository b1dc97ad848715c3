//! Devices without an IOMMU, for those who ask for them.
#![expect(unsafe_code, reason = "an unsafe function is declared; there is no unsafe block")]

use super::Vfio;

impl Vfio {
    /// Opens also devices that no IOMMU is in front of, by the mode of VFIO that its documentation
    /// calls unsafe (`vfio.enable_unsafe_noiommu_mode`); without this they are refused. It takes the
    /// capability `CAP_SYS_RAWIO` and taints the kernel. They are opened by their groups, which are
    /// never in one container with groups that have an IOMMU. They have no
    /// [address space](Vfio::address_space), for a device reads and writes physical addresses then, and
    /// this crate does not hand out any.
    ///
    /// # Safety
    /// A device without an IOMMU reaches all physical memory: that of this process, of others, and of
    /// the kernel. Any write to its registers may start DMA to anywhere, by a mistake, by an address
    /// that a register holds from before, or because the device is hostile; what the rest of this
    /// crate promises of memory does not hold then, although its functions are safe to call. The caller
    /// answers for all that is written to such a device as long as it is open, and for all that the
    /// device does of its own accord: nothing may make it access memory that is not meant for it.
    ///
    /// ```no_run
    /// use vfio_common::route::{Opener as _, Target, Vfio};
    /// use vfio_common::sysfs::Host;
    ///
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// // SAFETY: this device does no DMA: it has no bus master capability at all.
    /// let vfio = unsafe { Vfio::new(Host::system()).allow_no_iommu() };
    /// let name = "0000:00:09.0".to_owned();
    /// let device = vfio.open(&Target { sysfs: format!("bus/pci/devices/{name}").into(), name })?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub unsafe fn allow_no_iommu(mut self) -> Self {
        self.allows_no_iommu = true;
        self
    }
}
