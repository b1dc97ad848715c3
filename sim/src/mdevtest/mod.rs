//! The devices of this project's kernel test module (`tests/kernel/module`), made to exercise what
//! the kernel's sample devices do not have: sparse areas, packed offsets, a device API other than
//! vfio-pci. The same tests run on both.

mod platform;
mod registers;
mod sparse;

pub use self::platform::Platform;
pub use self::sparse::Sparse;
