//! The widths of a register access.

use std::fmt::Debug;

/// An integer that one access reads or writes: `u8`, `u16`, `u32` or `u64`. Sealed.
pub trait Register: Copy + Debug + Send + Sync + sealed::Sealed + 'static {
    /// Width in bytes.
    const WIDTH: usize = size_of::<Self>();
}

mod sealed {
    pub trait Sealed: Copy {
        type Bytes: AsRef<[u8]> + AsMut<[u8]> + Default;
        fn le_to_host(self) -> Self;
        fn host_to_le(self) -> Self;
        fn of_native(bytes: Self::Bytes) -> Self;
        fn native(self) -> Self::Bytes;
    }
}

macro_rules! registers {
    ($($integer:ty),*) => {$(
        impl Register for $integer {}
        impl sealed::Sealed for $integer {
            type Bytes = [u8; size_of::<$integer>()];
            #[inline]
            fn le_to_host(self) -> Self {
                <$integer>::from_le(self)
            }
            #[inline]
            fn host_to_le(self) -> Self {
                <$integer>::to_le(self)
            }
            #[inline]
            fn of_native(bytes: Self::Bytes) -> Self {
                <$integer>::from_ne_bytes(bytes)
            }
            #[inline]
            fn native(self) -> Self::Bytes {
                <$integer>::to_ne_bytes(self)
            }
        }
    )*};
}

registers!(u8, u16, u32, u64);
