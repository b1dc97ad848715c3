//! Mounts, swap space and routes, from `/proc` (`Documentation/filesystems/proc.rst`). A table that is
//! not there has no entries.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// `RTF_REJECT` of `linux/route.h`: such a route leads nowhere.
const REJECT: u32 = 0x200;

/// `major:minor` and mount point.
#[derive(Debug)]
pub(super) struct Mounts(Vec<(String, String)>);

/// Names below `/dev`.
#[derive(Debug)]
pub(super) struct Swaps(Vec<String>);

/// Names of interfaces.
#[derive(Debug)]
pub(super) struct DefaultRoutes(Vec<String>);

impl Mounts {
    pub(super) fn read(proc: &Path) -> Self {
        // Id, parent, number, root, mount point, and more.
        let mount = |line: &str| {
            let mut words = line.split(' ');
            let number = words.nth(2)?;
            Some((number.to_owned(), unescaped(words.nth(1)?)))
        };
        Self(text(&proc.join("self/mountinfo")).lines().filter_map(mount).collect())
    }

    pub(super) fn of(&self, number: &str) -> impl Iterator<Item = &str> {
        let mounts = self.0.iter().filter(move |(of, _)| of == number);
        mounts.map(|(_, at)| at.as_str())
    }
}

impl Swaps {
    pub(super) fn read(proc: &Path) -> Self {
        let device = |line: &str| {
            let path = unescaped(line.split_ascii_whitespace().next()?);
            path.strip_prefix("/dev/").map(str::to_owned)
        };
        Self(text(&proc.join("swaps")).lines().filter_map(device).collect())
    }

    pub(super) fn has(&self, device: &str) -> bool {
        self.0.iter().any(|name| name == device)
    }
}

impl DefaultRoutes {
    pub(super) fn read(proc: &Path) -> Self {
        // Interface, destination, gateway, flags, three numbers, mask, and more.
        let ipv4 = |line: &str| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let [interface, destination, _, _, _, _, _, mask, ..] = words.as_slice() else {
                return None;
            };
            let is_default = is_zero(destination) && is_zero(mask);
            is_default.then(|| (*interface).to_owned())
        };
        // Destination, length, source, length, next hop, three numbers, flags, interface.
        let ipv6 = |line: &str| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let [destination, length, _, _, _, _, _, _, flags, interface] = words.as_slice() else {
                return None;
            };
            let flags = u32::from_str_radix(flags, 16).ok()?;
            let is_default = is_zero(destination) && is_zero(length) && flags & REJECT == 0;
            is_default.then(|| (*interface).to_owned())
        };
        let mut routes: Vec<_> = text(&proc.join("net/route")).lines().filter_map(ipv4).collect();
        routes.extend(text(&proc.join("net/ipv6_route")).lines().filter_map(ipv6));
        Self(routes)
    }

    pub(super) fn pass(&self, interface: &str) -> bool {
        self.0.iter().any(|name| name == interface)
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn is_zero(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
}

/// The kernel writes white space and backslashes in paths as `\040`.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = match (code, after.get(3..)) {
            (Some(code), Some(after)) => {
                bytes.push(code);
                after
            }
            _ => {
                bytes.push(b'\\');
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    OsString::from_vec(bytes).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_escapes_and_nothing_else() {
        for (written, path) in [
            ("/mnt/with\\040space", "/mnt/with space"),
            ("/a\\134b", "/a\\b"),
            ("/a\\", "/a\\"),
            ("/a\\9é", "/a\\9é"),
            ("\\040\\011", " \t"),
        ] {
            assert_eq!(unescaped(written), path);
        }
    }

    #[test]
    fn only_default_routes_that_lead_somewhere_count() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("net")).unwrap();
        let zero = "00000000000000000000000000000000";
        let ipv4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    eth2\t00000000\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\nodd\n";
        fs::write(proc.path().join("net/route"), ipv4).unwrap();
        let line = |length: &str, flags: &str, interface: &str| {
            format!(
                "{zero} {length} {zero} 00 {zero} 00000400 00000001 00000000 {flags} {interface}\n"
            )
        };
        let ipv6 = [
            line("00", "00450003", "wlan0"),
            line("00", "00200200", "lo"),
            line("40", "00000001", "eth3"),
        ];
        fs::write(proc.path().join("net/ipv6_route"), ipv6.concat()).unwrap();
        let routes = DefaultRoutes::read(proc.path());
        assert_eq!(routes.0, ["eth0", "wlan0"]);
        assert!(DefaultRoutes::read(Path::new("/no-such-proc")).0.is_empty());
    }
}
