//! Devices that come to an address space and leave it.

use std::sync::Arc;

use super::space::Core;

/// Tells an address space that devices come and go, for those that lose their mappings with the last.
#[derive(Debug, Clone)]
pub struct Attach {
    pub(super) core: Arc<Core>,
}

/// A device in an address space, until it is dropped.
#[derive(Debug)]
pub struct Attachment {
    core: Arc<Core>,
}

impl Attach {
    /// A device comes; it goes when the value is dropped.
    #[must_use]
    pub fn device(&self) -> Attachment {
        self.core.attach();
        Attachment { core: self.core.clone() }
    }

    pub(crate) fn attach(&self) {
        self.core.attach();
    }

    pub(crate) fn detach(&self, leave: impl FnOnce()) {
        self.core.detach(leave);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.core.detach(|| ());
    }
}
