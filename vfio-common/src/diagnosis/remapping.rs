//! Interrupt remapping, without which VFIO refuses a device behind an IOMMU: it could send any
//! interrupt.

use std::fs;

use super::{Examination, Finding};

/// What can be known of interrupt remapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remapping {
    On,
    Off,
    Unknown,
}

impl Examination {
    /// Devices in a group of an IOMMU need it. Each route has a module that can be told otherwise.
    pub(super) fn interrupt_remapping(&self, by_cdev: bool) -> Option<Finding> {
        let interrupts = fs::read_to_string(self.host.proc_root().join("interrupts")).ok()?;
        if remapping(&interrupts) != Remapping::Off {
            return None;
        }
        let subject = "interrupt remapping";
        let module = if by_cdev { "iommufd" } else { "vfio_iommu_type1" };
        let parameters = self.host.sysfs_dir(format!("module/{module}/parameters")).ok()?;
        let allowed = parameters.and_then(|dir| dir.read("allow_unsafe_interrupts").ok()?);
        if allowed.is_some_and(|allowed| allowed.trim() == "Y") {
            let problem = format!(
                "is off, and {module}.allow_unsafe_interrupts lets devices in all the same: they can send \
                 any interrupt"
            );
            return Some(Finding::warning(subject, problem));
        }
        Some(Finding::error(subject, "is off").remedy(format!(
            "enable it in the firmware (VT-d, AMD-Vi), or switch {module}.allow_unsafe_interrupts on if \
             you trust the device"
        )))
    }
}

/// The interrupt chips of x86 have `IR-` before their name when they are remapped
/// (`drivers/iommu/intel/irq_remapping.c`, `drivers/iommu/amd/iommu.c`). Other architectures have
/// other chips.
fn remapping(interrupts: &str) -> Remapping {
    let mut chips = interrupts.split_ascii_whitespace();
    if chips.clone().any(|word| word.starts_with("IR-")) {
        return Remapping::On;
    }
    match chips.any(|word| word == "IO-APIC" || word.starts_with("PCI-MSI")) {
        true => Remapping::Off,
        false => Remapping::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Remapping, remapping};

    #[test]
    fn the_chips_tell() {
        let on = " 24:  0  IR-PCI-MSI-0000:00:06.0 0-edge nvme0q0\n  8: 1 IR-IO-APIC 8-edge rtc0\n";
        let off =
            "           CPU0\n  8:  1  IO-APIC  8-edge  rtc0\nNMI: 0 Non-maskable interrupts\n";
        let arm = " 13:  0  GICv3  26 Level  arch_timer\n";
        assert_eq!(remapping(on), Remapping::On);
        assert_eq!(remapping(off), Remapping::Off);
        assert_eq!(remapping(arm), Remapping::Unknown);
        assert_eq!(remapping(""), Remapping::Unknown);
    }
}
