//! Migration of the card, as the kernel driver does it: the arcs of `vfio_mig_get_next_state` in
//! `drivers/vfio/vfio_main.c`, and the data of `struct mtty_data`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use vfio_common::device::Feature;
use vfio_common::migration::{MigrationFlags, MigrationState as State, PreCopyInfo};

use super::port::{self, Port};
use crate::errno::failed;

const MAGIC: u64 = 0x7e9d_0989_8c3e_2c4e;
const MAJOR: u32 = 1;
const MINOR: u32 = 0;
/// Magic, two versions, number of ports, flags.
const HEADER: usize = 24;

/// Bits of a feature call besides the number (`include/uapi/linux/vfio.h`).
const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;
const NUMBER: u32 = 0xffff;

/// Where the card is, and the data of a transfer that runs.
#[derive(Debug)]
pub(super) struct Migration {
    state: State,
    data: Option<File>,
}

impl Default for Migration {
    fn default() -> Self {
        Self { state: State::RUNNING, data: None }
    }
}

impl Migration {
    /// `VFIO_DEVICE_FEATURE`.
    pub(super) fn feature(&self, flags: u32, data: &mut [u8], ports: &[Port]) -> io::Result<()> {
        let number = u16::try_from(flags & NUMBER).unwrap_or(u16::MAX);
        let known = MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY;
        let (allowed, answer) = match Feature(number) {
            Feature::MIGRATION => (GET, known.bits()),
            Feature::MIG_DATA_SIZE => (GET, data_size(ports.len()) as u64),
            // The state, and -1 for no descriptor.
            Feature::MIG_DEVICE_STATE => (GET | SET, join(self.state.0, u32::MAX)),
            // It is always empty. Its data holds addresses, which do not come this way.
            Feature::DMA_LOGGING_START | Feature::DMA_LOGGING_STOP => (SET, 0),
            Feature::DMA_LOGGING_REPORT => (GET, 0),
            _ => return Err(failed(Errno::NOTTY)),
        };
        let asked = flags & (GET | SET);
        if asked & !allowed != 0 || flags & !(NUMBER | GET | SET | PROBE) != 0 {
            return Err(failed(Errno::INVAL));
        }
        if flags & PROBE != 0 {
            return Ok(());
        }
        match Feature(number) {
            Feature::DMA_LOGGING_STOP if asked == SET => Ok(()),
            Feature::DMA_LOGGING_START | Feature::DMA_LOGGING_REPORT => Err(failed(Errno::FAULT)),
            // Setting the state is a call of its own, for it hands out a descriptor.
            _ => {
                let place = data.first_chunk_mut::<8>().filter(|_| asked == GET);
                *place.ok_or(failed(Errno::INVAL))? = answer.to_ne_bytes();
                Ok(())
            }
        }
    }

    /// Walks to a state. The descriptor that comes back is of the last step.
    pub(super) fn go_to(&mut self, state: u32, ports: &mut [Port]) -> io::Result<Option<OwnedFd>> {
        let mut given = None;
        while self.state.0 != state {
            let next = next(self.state, State(state)).ok_or(failed(Errno::INVAL))?;
            given = self.step(next, ports)?;
            self.state = next;
        }
        Ok(given)
    }

    /// `VFIO_MIG_GET_PRECOPY_INFO`: what was not read yet. What changes is not counted.
    pub(super) fn precopy_info(&self, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        if !matches!(self.state, State::PRE_COPY | State::PRE_COPY_P2P) {
            return Err(failed(Errno::INVAL));
        }
        let data = self.data.as_ref().ok_or(failed(Errno::NODEV))?;
        let (ours, given) = (rustix::fs::fstat(data)?, rustix::fs::fstat(stream)?);
        if (ours.st_dev, ours.st_ino) != (given.st_dev, given.st_ino) {
            return Err(failed(Errno::NODEV));
        }
        let left = data.metadata()?.len().checked_sub(rustix::fs::tell(stream)?);
        Ok(PreCopyInfo { initial_bytes: left.ok_or(failed(Errno::INVAL))?, dirty_bytes: 0 })
    }

    /// Ends a transfer. The card keeps everything else.
    pub(super) fn reset(&mut self) {
        self.end();
        self.state = State::RUNNING;
    }

    fn step(&mut self, to: State, ports: &mut [Port]) -> io::Result<Option<OwnedFd>> {
        match (self.state, to) {
            (State::RESUMING, State::STOP) => {
                self.load(ports)?;
                self.end();
                Ok(None)
            }
            (State::PRE_COPY, State::RUNNING)
            | (State::PRE_COPY_P2P, State::RUNNING_P2P)
            | (State::STOP_COPY, State::STOP) => {
                self.end();
                Ok(None)
            }
            (State::RUNNING, State::PRE_COPY)
            | (State::RUNNING_P2P, State::PRE_COPY_P2P)
            | (State::STOP | State::PRE_COPY_P2P, State::STOP_COPY) => self.save(to, ports),
            (State::STOP, State::RESUMING) => {
                let data = new_file()?;
                let given = reopen(&data, OFlags::WRONLY)?;
                self.data = Some(data);
                Ok(Some(given))
            }
            _ => Ok(None),
        }
    }

    /// The header comes first, in `PRE_COPY` without the ports, which are still in use.
    fn save(&mut self, to: State, ports: &[Port]) -> io::Result<Option<OwnedFd>> {
        let (data, given) = match self.data.take() {
            Some(data) => (data, None),
            None => {
                let data = new_file()?;
                data.write_all_at(&header(ports.len()), 0)?;
                let given = reopen(&data, OFlags::RDONLY)?;
                (data, Some(given))
            }
        };
        if to == State::STOP_COPY {
            let ports: Vec<_> = ports.iter().flat_map(Port::save).collect();
            data.write_all_at(&ports, HEADER as u64)?;
        }
        self.data = Some(data);
        Ok(given)
    }

    fn load(&self, ports: &mut [Port]) -> io::Result<()> {
        let data = self.data.as_ref().ok_or(failed(Errno::INVAL))?;
        let size = data_size(ports.len());
        let length = data.metadata()?.len();
        if length > size as u64 {
            return Err(failed(Errno::NOMEM));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(size)];
        data.read_exact_at(&mut bytes, 0)?;
        if bytes.len() < HEADER {
            return Err(failed(Errno::INVAL));
        }
        let (head, saved) = bytes.split_at(HEADER);
        if head != header(ports.len()) {
            return Err(failed(Errno::FAULT));
        }
        if length < size as u64 {
            return Err(failed(Errno::INVAL));
        }
        let (saved, _) = saved.as_chunks::<{ port::SAVED }>();
        ports.iter_mut().zip(saved).for_each(|(port, saved)| *port = Port::restore(saved));
        Ok(())
    }

    /// Whoever still has the data finds nothing more, and can add nothing.
    fn end(&mut self) {
        if let Some(data) = self.data.take() {
            // A file in memory that is ours can be emptied and sealed.
            let _ = data.set_len(0);
            let _ = rustix::fs::fcntl_add_seals(&data, SealFlags::WRITE | SealFlags::GROW);
        }
    }
}

/// The next state on the way; `None` where there is none.
fn next(from: State, to: State) -> Option<State> {
    if to == State::ERROR || to > State::PRE_COPY_P2P {
        return None;
    }
    Some(match (from, to) {
        (State::STOP, State::STOP_COPY | State::RESUMING)
        | (State::RUNNING, State::PRE_COPY)
        | (State::RUNNING_P2P, State::PRE_COPY_P2P)
        | (State::PRE_COPY_P2P, State::PRE_COPY | State::STOP_COPY) => to,
        (State::STOP | State::RUNNING | State::PRE_COPY_P2P, _) => State::RUNNING_P2P,
        (State::PRE_COPY, State::PRE_COPY_P2P | State::STOP_COPY) => State::PRE_COPY_P2P,
        (State::RUNNING_P2P, State::RUNNING | State::PRE_COPY) | (State::PRE_COPY, _) => {
            State::RUNNING
        }
        (State::STOP_COPY, State::PRE_COPY | State::PRE_COPY_P2P) => return None,
        (State::STOP_COPY | State::RESUMING | State::RUNNING_P2P, _) => State::STOP,
        _ => return None,
    })
}

fn data_size(ports: usize) -> usize {
    ports.saturating_mul(port::SAVED).saturating_add(HEADER)
}

fn header(ports: usize) -> [u8; HEADER] {
    let ports = u32::try_from(ports).unwrap_or(u32::MAX);
    let words = [MAGIC, join(MAJOR, MINOR), join(ports, 0)].map(u64::to_ne_bytes);
    let mut header = [0; HEADER];
    header.iter_mut().zip(words.as_flattened()).for_each(|(place, byte)| *place = *byte);
    header
}

/// Two 32-bit fields, the first at the lower address.
fn join(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn new_file() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create("vfio-sim migration", flags)?))
}

/// Another descriptor of a file in memory, with a position and an access mode of its own.
fn reopen(file: &File, access: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())?)
}
