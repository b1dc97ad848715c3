//! Linux VFIO from user space: what every bus of VFIO devices shares.
//!
//! VFIO gives a process direct and safe access to a device: its registers and memory as *regions*,
//! its interrupts, its DMA bounded by an IOMMU (`Documentation/driver-api/vfio.rst` of the kernel).
//! This crate opens devices, and gives access to what they have. A bus crate adds how devices are
//! found and matched to drivers; the engine for that is here too, in [`bus`]. It works without any bus
//! crate: a device's name and its place in sysfs are enough.
//!
//! | module | |
//! |---|---|
//! | [`route`] | from a name to an open device: by character device and iommufd, or by group and container |
//! | [`device`] | an open device: what it is, reset, features; the [`Backend`](device::Backend) behind it |
//! | [`region`] | a device's regions: what is mapped of them, and access |
//! | [`irq`] | a device's interrupts, delivered through eventfds |
//! | [`iommu`] | the memory that devices reach: address spaces and DMA buffers |
//! | [`pci_config`] | PCI configuration space |
//! | [`migration`] | a device's inner state: saved, and restored to another device |
//! | [`bus`] | the engine of a bus: scan, match, probe |
//! | `binding` | kernel drivers of devices: taken from the host for VFIO, and given back; with the feature `binding` |
//! | [`diagnosis`] | why a device does not open, before it is opened; who holds it |
//! | [`process`] | whose a value is, when processes fork |
//! | [`sysfs`] | reading and writing sysfs below a root that can be moved |
//!
//! ```
//! use vfio_common::route::{Opener as _, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let opener = machine.opener();
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! // let opener = vfio_common::route::Vfio::new(vfio_common::sysfs::Host::system());
//! let device = opener.open(&Target { name, sysfs })?;
//! let registers = device.region(0)?;
//! println!("line status {:#04x}", registers.read8(5)?);
//! assert_eq!(registers.read8(5)?, 0x60);
//! # Ok(()) }
//! ```
//!
//! # Where the calls of `linux/vfio.h` are
//!
//! | to do | in C | here |
//! |---|---|---|
//! | open a device | `VFIO_GROUP_GET_DEVICE_FD`, or `VFIO_DEVICE_BIND_IOMMUFD` and `VFIO_DEVICE_ATTACH_IOMMUFD_PT`, and all before | [`Vfio::open`](route::Opener::open) |
//! | the same in a process without the right to | descriptors over a socket | [`route::Nodes`], [`route::adopt`] |
//! | learn what it is | `VFIO_DEVICE_GET_INFO` | [`Device::info`](device::Device::info), [`Device::pci_config`](device::Device::pci_config) |
//! | access registers | `VFIO_DEVICE_GET_REGION_INFO`, `mmap`, `pread`, `pwrite` | [`Device::region`](device::Device::region), [`region::Window`] |
//! | get interrupts | `VFIO_DEVICE_GET_IRQ_INFO`, `VFIO_DEVICE_SET_IRQS` | [`Device::enable_irq`](device::Device::enable_irq), [`irq::IrqSet`], [`irq::Vector`] |
//! | let it reach memory | `VFIO_IOMMU_MAP_DMA`, `IOMMU_IOAS_MAP` | [`Device::address_space`](device::Device::address_space), [`iommu::DmaBuffer`] |
//! | begin anew | `VFIO_DEVICE_RESET` | [`Device::reset`](device::Device::reset) |
//! | begin anew by its bus or slot | `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`, `VFIO_DEVICE_PCI_HOT_RESET` | [`Device::hot_reset`](device::Device::hot_reset) |
//! | write a register by an eventfd | `VFIO_DEVICE_IOEVENTFD` | [`Device::write_on_event`](device::Device::write_on_event) |
//! | ask for a feature | `VFIO_DEVICE_FEATURE` with `PROBE` | [`Device::has_feature`](device::Device::has_feature) |
//! | save and restore its state | `MIGRATION`, `MIG_DEVICE_STATE`, `MIG_DATA_SIZE`, `VFIO_MIG_GET_PRECOPY_INFO` | [`Device::migration`](device::Device::migration) |
//! | know what memory it wrote | `DMA_LOGGING_START`, `STOP`, `REPORT` | [`Device::log_dma`](device::Device::log_dma) |
//! | let it sleep | `LOW_POWER_ENTRY`, `LOW_POWER_ENTRY_WITH_WAKEUP`, `LOW_POWER_EXIT` | [`Device::enter_low_power`](device::Device::enter_low_power), [`Device::enter_low_power_with_wake_up`](device::Device::enter_low_power_with_wake_up) |
//! | open virtual functions of a PCI function | `PCI_VF_TOKEN`, ` vf_token=` behind the name | [`Device::set_vf_token`](device::Device::set_vf_token), [`Vfio::vf_token`](route::Vfio::vf_token) |
//! | open what wants a virtual machine | `KVM_DEV_VFIO_FILE_ADD` | [`Vfio::kvm`](route::Vfio::kvm) |
//! | open what has no IOMMU | `VFIO_NOIOMMU_IOMMU` | [`Vfio::allow_no_iommu`](route::Vfio::allow_no_iommu) |
//! | hear that it is wanted back | the interrupt `REQ` | [`irq::removal_request`] |
//! | find out why it does not open | | [`diagnosis::Examination`] |
//! | anything else | any ioctl | [`Device::descriptor`](device::Device::descriptor) |
//!
//! # What is not here
//!
//! - Other IOMMUs than type 1 version 2 and the IOAS: sPAPR (POWER), nested page tables, PASIDs, faults.
//! - Of an iommufd: mappings of files and copies of mappings, reserved addresses, other ways to count locked
//!   memory (`IOMMU_IOAS_MAP_FILE`, `IOMMU_IOAS_COPY`, `IOMMU_IOAS_ALLOW_IOVAS`, `IOMMU_OPTION`).
//! - The dirty pages of a container (`VFIO_IOMMU_DIRTY_PAGES`) or of an iommufd; those that the device
//!   logs are here.
//! - What a virtual machine monitor wants beyond the link: graphics planes, interrupts that go past the
//!   program (`KVM_IRQFD`), regions as dma-buf. [`Device::descriptor`](device::Device::descriptor) is for that.
//! - Making and removing devices: sysfs does that, each bus in its way.
//! - Threads and event loops: nothing runs by itself, and whatever waits is an eventfd
//!   ([`AsFd`](std::os::fd::AsFd)) that goes into any loop.
//!
//! # What it promises
//!
//! - Nothing here panics on what the kernel, sysfs or a device says.
//! - Everything that is opened is closed when its last handle is dropped, in the order that the kernel
//!   wants: mappings, device, and then group and container, or iommufd. When a step fails, nothing stays
//!   open.
//! - No access leaves its region, mapped or not, and no reference to device memory is ever made.
//! - Descriptors are close-on-exec. A child of `fork` without `exec` holds them, and with them the
//!   device. Where it drops a handle, nothing of its parent's is unmapped or switched off.
//! - Memory that devices reach is freed only after it is out of their reach.
//! - `unsafe` is in four modules: `mmio`, `uapi::call`, `iommu::dma`, and `route::no_iommu`, which has no
//!   block. Public functions are unsafe only where memory of the caller is mapped for devices
//!   ([`AddressSpace::map`](iommu::AddressSpace::map), [`DmaMemory::new`](iommu::DmaMemory::new)), and
//!   where devices without an IOMMU are [let in](route::Vfio::allow_no_iommu), for which the other
//!   promises about memory do not hold.

mod eventfd;
mod holders;
mod mapping;
mod mmio;
mod uapi;

#[cfg(feature = "binding")]
pub mod binding;
pub mod bus;
pub mod device;
pub mod diagnosis;
pub mod iommu;
pub mod irq;
pub mod migration;
pub mod pci_config;
pub mod process;
pub mod region;
pub mod route;
pub mod sysfs;

pub use mapping::{Mapping, Protection, page_size};
