//! What all devices of a machine have in common: VFIO itself, and the limits of this process.

use std::fs;

use rustix::process::{Resource, geteuid, getrlimit};

use super::finding::{as_notes, is_open};
use super::{Examination, Finding};
use crate::route::Route;

/// The bit of `CAP_IPC_LOCK` (`linux/capability.h`).
const CAP_IPC_LOCK: u64 = 1 << 14;
/// A driver with packet buffers locks more than this.
const LITTLE: u64 = 64 << 20;

impl Examination {
    /// Examines what all devices need.
    #[must_use]
    pub fn machine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(error) = self.host.sysfs() {
            return vec![error.into()];
        }
        if self.nodes {
            findings.extend(self.shared_nodes());
            findings.extend(self.type1());
            findings.extend(self.character_devices());
        }
        findings.extend(self.memlock());
        findings.extend(self.processes());
        findings
    }

    /// The nodes that all devices need: the iommufd for one route, the container for the other.
    fn shared_nodes(&self) -> Vec<Finding> {
        let iommufd: Vec<_> = self.iommufd_node().into_iter().collect();
        let container: Vec<_> = self.container_node().into_iter().collect();
        match self.route {
            Route::Cdev => iommufd,
            Route::Group => container,
            // What is wrong with the iommufd is worth a word only where devices can be bound to it.
            Route::Auto if !self.has_character_devices() => container,
            Route::Auto if is_open(&iommufd) => {
                iommufd.into_iter().chain(as_notes(container)).collect()
            }
            Route::Auto if is_open(&container) => {
                container.into_iter().chain(as_notes(iommufd)).collect()
            }
            Route::Auto => iommufd.into_iter().chain(container).collect(),
        }
    }

    fn has_character_devices(&self) -> bool {
        self.a_device_has_number() == Some(true)
    }

    /// Whether the first device that VFIO offers has a device number; `None` when there is none.
    fn a_device_has_number(&self) -> Option<bool> {
        let devices = self.host.sysfs_dir("class/vfio-dev").ok()??;
        let first = devices.entries().ok()?.into_iter().next()?;
        let dir = devices.dir(first.name).ok()?;
        Some(dir.is_some_and(|dir| dir.inode("dev").ok().flatten().is_some()))
    }

    /// The kernel loads it by itself only where it is allowed to load modules.
    fn type1(&self) -> Option<Finding> {
        // Without a list of modules there is nothing to be said.
        let modules = self.host.sysfs_dir("module").ok()??;
        let is_there = |name: &str| modules.inode(name).ok().flatten().is_some();
        // iommufd can stand for the container and its IOMMU.
        let found = is_there("vfio_iommu_type1") || is_there("iommufd");
        (!found).then(|| {
            Finding::warning("vfio_iommu_type1", "is not loaded")
                .remedy("modprobe vfio_iommu_type1")
        })
    }

    /// `VFIO_DEVICE_CDEV` and iommufd, which most distributions leave out.
    fn character_devices(&self) -> Option<Finding> {
        // What is wrong with the iommufd is said with the nodes.
        (self.a_device_has_number() == Some(false)).then(|| {
            Finding::note(
                "VFIO character devices",
                "are not built into this kernel: devices open by group and container",
            )
        })
    }

    /// Memory for DMA is locked.
    fn memlock(&self) -> Option<Finding> {
        let limit = getrlimit(Resource::Memlock).current?;
        if self.may_lock_all() {
            return None;
        }
        let problem = format!("lets this process lock {} KiB of memory for DMA", limit / 1024);
        let remedy = "raise it where the driver needs more: ulimit -l, LimitMEMLOCK= in a systemd \
                      unit, memlock in limits.conf; or grant CAP_IPC_LOCK";
        let finding = match limit < LITTLE {
            true => Finding::warning("RLIMIT_MEMLOCK", problem),
            false => Finding::note("RLIMIT_MEMLOCK", problem),
        };
        Some(finding.remedy(remedy))
    }

    fn may_lock_all(&self) -> bool {
        let status = fs::read_to_string(self.host.proc_root().join("self/status"));
        let capabilities = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        });
        capabilities.map_or_else(|| geteuid().is_root(), |bits| bits & CAP_IPC_LOCK != 0)
    }

    fn processes(&self) -> Option<Finding> {
        let count = self.files.unreadable();
        (count > 0).then(|| {
            Finding::note("processes", format!("of others ({count}) cannot be looked into"))
                .remedy("run as root to see whether they have a device open")
        })
    }
}
