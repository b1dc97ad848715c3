//! The secret that a PCI function shares with its virtual functions.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{Device, Feature, FeatureError, FeatureUse};

/// A VF token: while a physical function with SR-IOV is bound to vfio-pci, who opens one of its
/// virtual functions must know the token that was set on it, and who opens it while they are in use
/// must know it too (`vfio_pci_validate_vf_token` in `drivers/vfio/pci/vfio_pci_core.c`). It is a
/// secret: it does not print.
///
/// ```
/// use vfio_common::device::VfToken;
///
/// let token: VfToken = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".parse()?;
/// assert_eq!(format!("{token:?}"), "VfToken(..)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VfToken(Uuid);

impl VfToken {
    /// As the kernel has it in structs.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// As the kernel reads it behind the name of a device.
    pub(crate) fn as_text(&self) -> String {
        self.0.as_hyphenated().to_string()
    }
}

impl From<Uuid> for VfToken {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for VfToken {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Debug for VfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VfToken(..)")
    }
}

impl Device {
    /// Sets the token that the virtual functions of this physical function want from now on:
    /// `VFIO_DEVICE_FEATURE_PCI_VF_TOKEN`. The kernel keeps it while the function is bound to
    /// vfio-pci, also when nobody has it open. Until one is set, the token is random and nobody's:
    /// no virtual function can be opened.
    ///
    /// ```no_run
    /// # fn f(physical: &vfio_common::device::Device) -> Result<(), Box<dyn std::error::Error>> {
    /// physical.set_vf_token("bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".parse()?)?;
    /// // Its virtual functions are made through sysfs: sriov_numvfs.
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`FeatureError::Unsupported`] when the device is no physical function with SR-IOV.
    pub fn set_vf_token(&self, token: VfToken) -> Result<(), FeatureError> {
        let mut bytes = *token.as_bytes();
        self.use_feature(Feature::PCI_VF_TOKEN, FeatureUse::Set, &mut bytes)
    }
}
