//! Whose a value is, when processes fork.

/// The process that did something which a drop undoes. A child of `fork` has a copy of the value, but not
/// the say: what it drops is still in use by its parent.
///
/// ```
/// use vfio_common::process::Doer;
///
/// let doer = Doer::here();
/// assert!(doer.is_here() && !Doer::of(0).is_here());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doer(u32);

impl Doer {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        Self::of(std::process::id())
    }

    /// The process with this id (`getpid(2)`).
    #[must_use]
    pub fn of(process: u32) -> Self {
        Self(process)
    }

    /// Whether it is this process.
    #[must_use]
    pub fn is_here(self) -> bool {
        self == Self::here()
    }
}
