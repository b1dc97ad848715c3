//! What the program is asked to do.

mod pci;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use mdev_bus::Address;
use vfio_common::device::VfToken;

pub(crate) use self::pci::{Change, PciCommand};

/// Lists, inspects and probes mediated devices (mdev) and PCI functions through Linux VFIO.
///
/// Exit status: 0 when all went well, 1 when something failed, 2 when the arguments are wrong.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Run on software devices instead of this machine's: no hardware, no root. They are made anew
    /// at each start.
    #[arg(long, global = true, conflicts_with_all = ["sysfs", "dev"])]
    pub(crate) sim: bool,

    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The directory that stands for /sys.
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    pub(crate) sysfs: PathBuf,

    /// The directory that stands for /dev.
    #[arg(long, global = true, value_name = "DIR", default_value = "/dev")]
    pub(crate) dev: PathBuf,

    /// Which way devices are opened: by their character device and an iommufd, or by their IOMMU group.
    #[arg(long, global = true, default_value = "auto", conflicts_with = "sim")]
    pub(crate) route: Route,

    /// The VF token of virtual functions, as it was set on their physical function: for devices that take
    /// one. Other users see it in the list of processes.
    #[arg(long, global = true, value_name = "UUID", conflicts_with = "sim")]
    pub(crate) vf_token: Option<VfToken>,

    /// The directory that stands for /proc, where `doctor` and error messages look for processes that
    /// have a device open, and `pci bind` for what is mounted and routed.
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc")]
    pub(crate) proc: PathBuf,

    /// Say on standard error what is done; more often, more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all mediated devices, without opening any.
    List,
    /// List what devices can be created, and how many more.
    Types,
    /// List the drivers that are built into this program.
    Drivers,
    /// Open a device and show its regions and interrupts.
    Show {
        /// The device.
        uuid: Address,
    },
    /// Bind devices to their drivers, run the drivers' self-tests, and unbind.
    Probe {
        /// The devices; all if none is named.
        uuid: Vec<Address>,
    },
    /// Say what keeps devices from being opened, and what to do about it, without opening any.
    Doctor {
        /// A mediated device, or the address of a PCI function; the machine and all mediated devices
        /// if none is named.
        device: Option<Device>,
    },
    /// List, show and probe PCI functions, and give them to VFIO and back.
    #[command(subcommand)]
    Pci(PciCommand),
    /// Read registers.
    Peek(Peek),
    /// Write a register.
    Poke(Poke),
    /// Save a device's state to a file; the device stops for the time this takes.
    Save {
        /// The device.
        uuid: Address,
        /// The file; one that is there is replaced when the new one is complete.
        file: PathBuf,
    },
    /// Give a device the state that another one of its type was saved with.
    Restore {
        /// The device.
        uuid: Address,
        /// The file that `save` made.
        file: PathBuf,
    },
}

/// A device of either bus.
#[derive(Debug, Clone)]
pub(crate) enum Device {
    Mdev(Address),
    Pci(pci_bus::Address),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mdev = text.parse().map(Self::Mdev);
        mdev.or_else(|_| text.parse().map(Self::Pci)).map_err(|_| {
            format!("{text:?} is neither a UUID nor a PCI address such as 0000:3b:00.1")
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Peek {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many registers to read, one behind the other.
    #[arg(long, default_value = "1", value_parser = positive_number)]
    pub(crate) count: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Poke {
    #[command(flatten)]
    pub(crate) place: Place,
    /// What to write, little-endian; decimal, or hexadecimal with 0x.
    #[arg(value_parser = number)]
    pub(crate) value: u64,
}

/// A register.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// A mediated device, or the address of a PCI function.
    pub(crate) device: Device,
    /// The region's index.
    #[arg(value_parser = small_number)]
    pub(crate) region: u32,
    /// Bytes from the region's start; decimal, or hexadecimal with 0x.
    #[arg(value_parser = number)]
    pub(crate) offset: u64,
    /// Width in bytes.
    #[arg(long, default_value = "4")]
    pub(crate) width: Width,
    /// Which way to access it; `mapped` and `trapped` fail where there is no such way.
    #[arg(long, default_value = "auto")]
    pub(crate) via: Via,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Route {
    /// The character device where there is one that can be opened, the group elsewhere.
    Auto,
    /// The character device: Linux 6.6 and later.
    Cdev,
    /// The group.
    Group,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Width {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
    #[value(name = "4")]
    Four,
    #[value(name = "8")]
    Eight,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Via {
    /// The mapping where there is one.
    Auto,
    /// The mapping.
    Mapped,
    /// A read or write of the device descriptor.
    Trapped,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    // `from_str_radix` takes a sign, which an offset does not have.
    let signed = text.contains(['+', '-']);
    parsed.ok().filter(|_| !signed).ok_or_else(|| "write it as 4096 or as 0x1000".to_owned())
}

fn positive_number(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("give 1 or more".to_owned()),
        number => Ok(number),
    }
}

fn small_number(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| "no region has such a high index".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_nothing_else() {
        assert_eq!(number("4096"), Ok(4096));
        assert_eq!(number("0x1000"), Ok(4096));
        assert_eq!(number("0XFFFFFFFFFFFFFFFF"), Ok(u64::MAX));
        for wrong in ["", "0x", "-1", "+1", "0x+1", "1k", "0x1g", "18446744073709551616"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert!(small_number("0x100000000").is_err());
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
