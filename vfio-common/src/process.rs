//! Whose a value is, when processes fork.

/// The process that did something which a drop undoes. A child of `fork` has a copy of the value, but not
/// the say: what it drops is still in use by its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doer(u32);

impl Doer {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(std::process::id())
    }

    /// Whether it is this process.
    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }
}
