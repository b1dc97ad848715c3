//! How far a transfer is, for somebody who watches.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two updates.
const PAUSE: Duration = Duration::from_millis(100);

/// A line on standard error that is written over, and wiped away at the end. Nothing is written when
/// standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    about: Option<u64>,
    terminal: bool,
    written: Option<Instant>,
}

impl Progress {
    /// `about` is how many bytes are expected.
    pub(crate) fn new(what: &'static str, about: Option<u64>) -> Self {
        Self { what, about, terminal: io::stderr().is_terminal(), written: None }
    }

    pub(crate) fn show(&mut self, bytes: u64) {
        if !self.terminal || self.written.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.written = Some(Instant::now());
        let text = line(self.what, bytes, self.about);
        // A terminal that has gone away is no reason to stop.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.written.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, bytes: u64, about: Option<u64>) -> String {
    match about.filter(|about| *about >= bytes) {
        Some(about) => format!("{what}: {} of about {}", size(bytes), size(about)),
        None => format!("{what}: {}", size(bytes)),
    }
}

fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const UNITS: [(u64, &str); 3] = [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(line("saving", 96, Some(96)), "saving: 96 B of about 96 B");
        assert_eq!(line("saving", 1536, None), "saving: 1.5 KiB");
        assert_eq!(line("saving", 3 << 30, Some(1)), "saving: 3.0 GiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }
}
