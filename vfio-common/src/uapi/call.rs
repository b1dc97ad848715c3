//! The ioctl system call.
#![expect(unsafe_code, reason = "the boundary to the kernel")]

use std::ffi::{CStr, c_ulong};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::ioctl::opcode;
use vfio_bindings::bindings::vfio as sys;

use crate::iommu::DmaMemory;
use crate::mapping::page_size;

/// The number of an ioctl, in the type that the C library takes it.
pub(super) type Request = libc::Ioctl;

/// The number of a VFIO ioctl: `_IO(VFIO_TYPE, VFIO_BASE + n)`.
pub(super) const fn vfio(n: u8) -> Request {
    opcode::none(sys::VFIO_TYPE, BASE + n) as Request
}

/// `VFIO_BASE`, which is 100 and fits.
#[expect(clippy::cast_possible_truncation, reason = "checked just below")]
const BASE: u8 = sys::VFIO_BASE as u8;
const _: () = assert!(BASE as u32 == sys::VFIO_BASE);

/// An ioctl whose argument is a number.
///
/// Not for requests that take a pointer: the callers in this folder pass only the numbers of
/// requests that do not.
pub(super) fn number(fd: BorrowedFd<'_>, request: Request, argument: c_ulong) -> io::Result<i32> {
    // SAFETY: the descriptor is open for the call. The request takes its argument by value, so the
    // kernel touches no memory of this process.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
    check(result)
}

/// An ioctl whose argument is a struct that begins with its length, `argsz`, and that the kernel
/// reads and fills in. The buffer is aligned for every VFIO struct.
///
/// The kernel writes no more than `argsz` bytes; the caller has set it to the buffer's length or
/// less, or the call is refused here.
pub(super) fn sized(fd: BorrowedFd<'_>, request: Request, buffer: &mut [u64]) -> io::Result<i32> {
    let length = size_of_val(buffer);
    let argsz = buffer.first().map_or(0, |word| super::argsz::low_half(*word));
    if argsz as usize > length || length == 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the pointer covers the whole buffer, which is borrowed for the call alone, is aligned
    // to 8 as every VFIO struct needs, and is initialised. By the argsz protocol the kernel reads
    // and writes at most `argsz` bytes, which was checked to be no more than the buffer has.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) };
    check(result)
}

/// As [`sized`], for requests that hand out a new descriptor in a 32-bit field of the struct.
///
/// `field` is the number of that field, counted in 32-bit words from the struct's start. The callers
/// in this folder pass only requests that put there, when they succeed, a descriptor made for this
/// call, or a negative number.
pub(super) fn sized_opening(
    fd: BorrowedFd<'_>,
    request: Request,
    buffer: &mut [u64],
    field: usize,
) -> io::Result<Option<OwnedFd>> {
    sized(fd, request, buffer)?;
    let mut words = buffer.iter().flat_map(|word| word.to_ne_bytes());
    let bytes: [u8; 4] = std::array::from_fn(|at| {
        if at == 0 { words.nth(field.saturating_mul(4)) } else { words.next() }.unwrap_or(0xff)
    });
    let number = libc::c_int::from_ne_bytes(bytes);
    // SAFETY: the request succeeded, so by the callers' promise the kernel made this descriptor for
    // this call: nobody else owns it.
    Ok((number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) }))
}

/// As [`sized`], for requests that let devices reach memory of this process. The address and the length
/// of `memory` are put into the words of the struct that have these numbers.
pub(super) fn sized_lending(
    fd: BorrowedFd<'_>,
    request: Request,
    buffer: &mut [u64],
    [address, length]: [usize; 2],
    memory: &DmaMemory,
) -> io::Result<i32> {
    for (at, value) in [(address, memory.address()), (length, memory.length())] {
        let word = buffer.get_mut(at).ok_or(io::ErrorKind::InvalidInput)?;
        *word = value;
    }
    // What devices then do with the memory is covered by the promise behind `DmaMemory`.
    sized(fd, request, buffer)
}

/// As [`sized`], for requests whose struct has a pointer to 16 bytes that the kernel reads during the
/// call. Their address is put into the word of the struct that has this number.
pub(super) fn sized_pointing(
    fd: BorrowedFd<'_>,
    request: Request,
    buffer: &mut [u64],
    word: usize,
    bytes: &[u8; 16],
) -> io::Result<i32> {
    let word = buffer.get_mut(word).ok_or(io::ErrorKind::InvalidInput)?;
    *word = bytes.as_ptr().expose_provenance() as u64;
    // They are borrowed until the call has returned, and are only read.
    sized(fd, request, buffer)
}

/// `IOMMU_IOAS_IOVA_RANGES`: an ioctl that fills in an array beside its struct. Returns how many
/// ranges there are, of which the first `ranges.len()` are filled in, and the alignment of addresses;
/// more than that is the error `EMSGSIZE` with the number.
pub(super) fn iova_ranges(
    fd: BorrowedFd<'_>,
    request: Request,
    ioas: u32,
    ranges: &mut [[u64; 2]],
) -> Result<(u32, u64), (u32, io::Error)> {
    use super::argsz::halves;
    const LENGTH: u32 = 32;
    let count = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
    let array = ranges.as_mut_ptr().expose_provenance() as u64;
    // size, ioas_id; num_iovas, reserved; allowed_iovas; out_iova_alignment.
    let mut buffer = [halves(LENGTH, ioas), halves(count, 0), array, 0];
    // SAFETY: `struct iommu_ioas_iova_ranges` has the 32 bytes of the buffer, which is aligned to 8 and
    // initialised. The array that it points to is borrowed for the call alone and has room for `count`
    // pairs of 64-bit numbers (`struct iommu_iova_range`), of which the kernel writes no more than
    // that; every bit pattern is a pair.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) };
    let checked = check(result);
    let [_, count, _, alignment] = buffer;
    let there = super::argsz::low_half(count);
    checked.map(|_| (there, alignment)).map_err(|error| (there, error))
}

/// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`: an ioctl that reads an array beside its struct. Returns the
/// page size that the device took.
pub(super) fn start_dma_log(
    fd: BorrowedFd<'_>,
    request: Request,
    flags: u32,
    page_size: u64,
    ranges: &[[u64; 2]],
) -> io::Result<u64> {
    use super::argsz::halves;
    const LENGTH: u32 = 32;
    let count = u32::try_from(ranges.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let array = ranges.as_ptr().expose_provenance() as u64;
    // argsz, flags; page_size; num_ranges, reserved; ranges.
    let mut buffer = [halves(LENGTH, flags), page_size, halves(count, 0), array];
    // SAFETY: `struct vfio_device_feature` with `struct vfio_device_feature_dma_logging_control` has the
    // 32 bytes of the buffer, which is aligned to 8 and initialised. The array that it points to is
    // borrowed for the call and has `count` pairs of 64-bit numbers (`struct
    // vfio_device_feature_dma_logging_range`), which the kernel copies before it returns and does not
    // write.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) };
    check(result)?;
    let [_, page_size, ..] = buffer;
    Ok(page_size)
}

/// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`: an ioctl that sets bits in an array beside its struct, a bit
/// for each page of `length` bytes from `iova`. The words come back.
pub(super) fn read_dma_log(
    fd: BorrowedFd<'_>,
    request: Request,
    flags: u32,
    logged_page: u64,
    [iova, length]: [u64; 2],
) -> io::Result<Vec<u64>> {
    use super::argsz::halves;
    const LENGTH: u32 = 40;
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    if logged_page == 0 || length == 0 {
        return Err(invalid());
    }
    let words = length.div_ceil(logged_page).div_ceil(u64::BITS.into());
    let words = usize::try_from(words).map_err(|_| invalid())?;
    // The kernel pins the pages that the bitmap lies in, and sets bits without looking at its end
    // (`iova_bitmap_set`): what lies behind it in the last page must be ours, too.
    let page = usize::try_from(page_size()).map_err(|_| invalid())? / size_of::<u64>();
    let whole = words.checked_next_multiple_of(page).ok_or_else(invalid)?;
    let mut memory = vec![0u64; whole.checked_add(page).ok_or_else(invalid)?];
    let start = memory.as_ptr().align_offset(page.saturating_mul(size_of::<u64>()));
    let end = start.checked_add(whole).ok_or_else(invalid)?;
    let pages = memory.get_mut(start..end).ok_or_else(invalid)?;
    let array = pages.as_mut_ptr().expose_provenance() as u64;
    // argsz, flags; iova; length; page_size; bitmap.
    let mut buffer = [halves(LENGTH, flags), iova, length, logged_page, array];
    // SAFETY: `struct vfio_device_feature` with `struct vfio_device_feature_dma_logging_report` has the
    // 40 bytes of the buffer, which is aligned to 8 and initialised. The bitmap that it points to has a
    // bit for each page of the range, begins at a page of the process and goes on to the end of its last
    // one, and is borrowed for the call alone. The kernel writes only into these pages, which it pins
    // and unpins within the call; every bit pattern is a number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) };
    check(result)?;
    memory.truncate(start.saturating_add(words));
    memory.drain(..start);
    Ok(memory)
}

/// An ioctl whose argument is a descriptor's number, read by the kernel.
pub(super) fn descriptor(
    fd: BorrowedFd<'_>,
    request: Request,
    argument: BorrowedFd<'_>,
) -> io::Result<i32> {
    let number: libc::c_int = argument.as_raw_fd();
    // SAFETY: the pointer is to a live `int`, which is what the request reads.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw const number) };
    check(result)
}

/// An ioctl whose argument is a string and which returns a new descriptor.
pub(super) fn open(fd: BorrowedFd<'_>, request: Request, name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the pointer is to a string that ends with NUL, which is what the request reads.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, name.as_ptr()) };
    let number = check(result)?;
    // SAFETY: the kernel returned this descriptor just now for this call: nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An ioctl whose argument is a number and which returns a new descriptor.
///
/// The callers in this folder pass only requests that return, when they succeed, a descriptor made for
/// this call.
pub(super) fn open_by_number(
    fd: BorrowedFd<'_>,
    request: Request,
    argument: c_ulong,
) -> io::Result<OwnedFd> {
    let number = number(fd, request, argument)?;
    // SAFETY: the request succeeded, and `number` returns nothing negative then; by the callers'
    // promise the kernel made this descriptor for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `KVM_CREATE_DEVICE`: an ioctl that puts a new descriptor into the second of three 32-bit fields.
pub(super) fn create_device(
    fd: BorrowedFd<'_>,
    request: Request,
    kind: u32,
) -> io::Result<OwnedFd> {
    const NO_DESCRIPTOR: u32 = u32::MAX;
    // type, fd, flags.
    let mut fields = [kind, NO_DESCRIPTOR, 0];
    // SAFETY: `struct kvm_create_device` has the 12 bytes of the array, which is aligned to 4,
    // initialised, and borrowed for the call alone; the kernel reads and writes no more than these.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, fields.as_mut_ptr()) };
    check(result)?;
    let [_, number, _] = fields;
    let number = number.cast_signed();
    if number < 0 {
        return Err(io::Error::other("the kernel made no descriptor"));
    }
    // SAFETY: the request succeeded, so the kernel made this descriptor for this call: nobody else owns
    // it. The array held no valid number before, so the kernel has written this one.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `KVM_SET_DEVICE_ATTR` with an attribute whose value is a descriptor's number, read by the kernel.
pub(super) fn set_attribute(
    fd: BorrowedFd<'_>,
    request: Request,
    group: u32,
    attribute: u64,
    value: BorrowedFd<'_>,
) -> io::Result<()> {
    let number: libc::c_int = value.as_raw_fd();
    let address = (&raw const number).expose_provenance() as u64;
    // flags, group; attr; addr.
    let fields = [super::argsz::halves(0, group), attribute, address];
    // SAFETY: `struct kvm_device_attr` has the 24 bytes of the array, which is aligned to 8 and
    // initialised, and which the kernel reads. The address in it is that of a live `int`, which is what
    // the attributes that the callers in this folder set read.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, fields.as_ptr()) };
    check(result).map(drop)
}

fn check(result: libc::c_int) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
