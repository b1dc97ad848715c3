//! The states of a migration.

use std::fmt;

use vfio_bindings::bindings::vfio as sys;

bitflags::bitflags! {
    /// How a device migrates: `flags` of `struct vfio_device_feature_migration`
    /// (`include/uapi/linux/vfio.h`). Bits that this crate does not know are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MigrationFlags: u64 {
        /// While it is stopped. Every device that migrates can.
        const STOP_COPY = sys::VFIO_MIGRATION_STOP_COPY as u64;
        /// It has states in which it does no DMA to other devices.
        const P2P = sys::VFIO_MIGRATION_P2P as u64;
        /// It gives data already while it runs.
        const PRE_COPY = sys::VFIO_MIGRATION_PRE_COPY as u64;
        const _ = !0;
    }
}

/// A state of a device: `enum vfio_device_mig_state`. A state that this crate does not know is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigrationState(pub u32);

/// Generates the constants and their names from one list.
macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $value:ident;)*) => {
        impl MigrationState {
            $($(#[$doc])* pub const $name: Self =
                Self(sys::$value);)*

            /// The state's name, as in the kernel's header; `None` for one that this crate does not
            /// know.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

states! {
    /// The device failed. Only a reset leads out.
    ERROR = vfio_device_mig_state_VFIO_DEVICE_STATE_ERROR;
    /// It changes neither itself nor memory.
    STOP = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP;
    /// It runs: the first state, and the one for use.
    RUNNING = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING;
    /// It is stopped, and its data can be read.
    STOP_COPY = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY;
    /// It is stopped, and takes data.
    RESUMING = vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING;
    /// It runs without DMA to other devices.
    RUNNING_P2P = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING_P2P;
    /// It runs, and first data can be read.
    PRE_COPY = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY;
    /// The same without DMA to other devices.
    PRE_COPY_P2P = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY_P2P;
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {}", self.0),
        }
    }
}

impl fmt::Debug for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MigrationState({})", self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_of_the_header_and_unknown_ones_their_number() {
        assert_eq!(MigrationState(2), MigrationState::RUNNING);
        assert_eq!(MigrationState(7).to_string(), "PRE_COPY_P2P");
        assert_eq!(MigrationState(8).to_string(), "number 8");
    }
}
