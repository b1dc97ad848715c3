//! Device cgroups: a hint only. In version 1 there is a list; in version 2 a BPF program decides,
//! which cannot be read.

use std::fs;
use std::path::Path;

use super::{Examination, Finding};

impl Examination {
    /// A note when this process is in a cgroup that may keep it from a node.
    pub(super) fn cgroup(&self, node: &Path, number: &str) -> Option<Finding> {
        let own = fs::read_to_string(self.host.proc_root().join("self/cgroup")).ok()?;
        let group = restricting(&own)?;
        let problem = format!("may be forbidden by the device cgroup {group} of this process");
        let remedy = format!(
            "if it opens with \"Operation not permitted\", allow `c {number} rw` (--device {})",
            node.display()
        );
        Some(Finding::note(node.display(), problem).remedy(remedy))
    }
}

/// The cgroup that may restrict devices, from lines of `number:controllers:path`.
fn restricting(own: &str) -> Option<&str> {
    const CONTAINERS: [&str; 5] = ["docker", "kubepods", "libpod", "lxc", "containerd"];
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let in_container = CONTAINERS.iter().any(|name| path.contains(name));
        let first = controllers.split(',').any(|name| name == "devices") && path != "/";
        let second = controllers.is_empty() && in_container;
        // systemd puts each service into one and forbids nothing.
        ((first && (in_container || !path.contains(".slice"))) || second).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::restricting;

    #[test]
    fn only_cgroups_that_may_restrict_are_named() {
        for (own, expected) in [
            ("0::/\n", None),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("0::/system.slice/docker-1f.scope\n", Some("/system.slice/docker-1f.scope")),
            ("5:devices:/\n0::/\n", None),
            ("5:devices:/user.slice\n", None),
            ("11:memory:/a\n5:cpu,devices:/docker/1f\n", Some("/docker/1f")),
            ("nonsense", None),
        ] {
            assert_eq!(restricting(own), expected, "{own}");
        }
    }
}
