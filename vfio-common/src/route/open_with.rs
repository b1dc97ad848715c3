//! What a device wants besides being opened.

use super::sriov::Function;
use super::{Kvm, OpenError, Target};
use crate::device::VfToken;
use crate::sysfs::Host;

/// What one device wants to be opened with; see [`Vfio::open_with`](super::Vfio::open_with). What is
/// not said here is as the [`Vfio`](super::Vfio) has it for all its devices.
///
/// ```no_run
/// use vfio_common::route::{OpenWith, Target, Vfio};
/// use vfio_common::sysfs::Host;
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let name = "0000:3b:00.1".to_owned();
/// let target = Target { sysfs: format!("bus/pci/devices/{name}").into(), name };
/// let token = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".parse()?;
/// let vfio = Vfio::new(Host::system());
/// let device = vfio.open_with(&target, &OpenWith::new().vf_token(token))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct OpenWith {
    pub(crate) kvm: Option<Kvm>,
    pub(crate) vf_token: Option<VfToken>,
}

impl OpenWith {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Linked to a virtual machine.
    #[must_use]
    pub fn kvm(self, vm: &Kvm) -> Self {
        Self { kvm: Some(vm.clone()), ..self }
    }

    /// With the token that it shares: a virtual function with that of its physical function, a
    /// physical function with that of its virtual functions, if they are in use. If they are not, it
    /// is set as by [`Device::set_vf_token`](crate::device::Device::set_vf_token).
    #[must_use]
    pub fn vf_token(self, token: VfToken) -> Self {
        Self { vf_token: Some(token), ..self }
    }

    /// What `target` is opened with, when `defaults` are for all. A token of its own must be one that it
    /// takes, for the kernel refuses any other; that for all is for those that take one.
    pub(super) fn or(
        &self,
        defaults: &Self,
        host: &Host,
        target: &Target,
    ) -> Result<Self, OpenError> {
        let kvm = self.kvm.as_ref().or(defaults.kvm.as_ref()).cloned();
        let Some(token) = self.vf_token.or(defaults.vf_token) else {
            return Ok(Self { kvm, vf_token: None });
        };
        let takes_one = Function::of(host, target)?.takes_token();
        if !takes_one && self.vf_token.is_some() {
            return Err(OpenError::TakesNoToken { device: target.name.clone() });
        }
        Ok(Self { kvm, vf_token: takes_one.then_some(token) })
    }
}
