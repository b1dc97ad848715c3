//! One device: its driver, its group, the nodes, and who has them open.

use std::path::{Path, PathBuf};

use super::finding::{as_notes, is_open};
use super::{Examination, Finding, Severity};
use crate::route::{
    DeviceNumber, Function, Member, Route, Target, is_iommu_off, is_of_vfio, wants_kvm,
};
use crate::sysfs::{Dir, SysfsError};

const GROUPS: &str = "kernel/iommu_groups";

/// The IOMMU group of a device.
struct Group {
    number: u32,
    /// The kernel made it for this device, which does no DMA of its own: no IOMMU is behind it.
    emulated: bool,
    /// VFIO works on it without any IOMMU.
    no_iommu: bool,
}

impl Examination {
    /// Examines one device: whether it exists, is bound to a driver of VFIO, is in a viable group whose
    /// node is the right one and may be opened, and nobody else has it. Findings come in the order in
    /// which opening the device would fail; none with [`Severity::Error`] means that it should open,
    /// as far as the device itself goes: see [`Examination::machine`] for the rest.
    #[must_use]
    pub fn device(&self, target: &Target) -> Vec<Finding> {
        self.look_at(target).unwrap_or_else(|error| vec![error.into()])
    }

    fn look_at(&self, target: &Target) -> Result<Vec<Finding>, SysfsError> {
        let name = &target.name;
        let Some(dir) = self.host.sysfs_dir(&target.sysfs)? else {
            let place = self.host.sysfs_root().join(&target.sysfs);
            return Ok(vec![Finding::error(
                name,
                format!("does not exist: no {}", place.display()),
            )]);
        };
        let driver = dir.link_name("driver")?;
        let group = dir.link_name("iommu_group")?.and_then(|group| group.parse().ok());
        let group = group.map(|number| self.group(number)).transpose()?;
        let mut findings = Vec::new();
        findings.extend(self.driver(name, driver.as_deref(), group.as_ref(), &dir)?);
        let Some(group) = group else {
            findings.extend(self.no_group(name, driver.is_some())?);
            return Ok(findings);
        };
        if !group.emulated {
            findings.extend(self.viability(target, &group)?);
        }
        if self.nodes {
            findings.extend(self.access(target, &group, findings.is_empty()));
            findings.extend(self.holders(name, &group));
            findings.extend(driver.as_deref().and_then(|driver| self.needs_kvm(name, driver)));
            findings.extend(self.needs_token(target, &dir)?);
        }
        Ok(findings)
    }

    fn group(&self, number: u32) -> Result<Group, SysfsError> {
        let dir = self.host.sysfs_dir(Path::new(GROUPS).join(number.to_string()))?;
        let name = dir.map(|dir| dir.read("name")).transpose()?.flatten();
        // Both kinds have this name; only their nodes differ.
        let no_iommu =
            DeviceNumber::in_sysfs(&self.host, format!("class/vfio/noiommu-{number}")).is_some();
        let emulated = name.is_some_and(|name| name.trim() == "vfio-noiommu") && !no_iommu;
        Ok(Group { number, emulated, no_iommu })
    }

    fn driver(
        &self,
        name: &str,
        driver: Option<&str>,
        group: Option<&Group>,
        dir: &Dir,
    ) -> Result<Option<Finding>, SysfsError> {
        let remedy = "bind it to one, such as vfio-pci: write that name to driver_override, unbind the \
                      device, and write its name to drivers_probe of its bus";
        let Some(driver) = driver else {
            let problem = "is bound to no kernel driver that offers it through VFIO";
            return Ok(Some(Finding::error(name, problem).remedy(remedy)));
        };
        // Before Linux 6.1 there is no `vfio-dev`; then its group or the driver's name tells.
        let offered = group.is_some_and(|group| group.emulated)
            || is_of_vfio(driver)
            || dir.inode("vfio-dev")?.is_some();
        let problem = format!("is bound to {driver}, which does not offer it through VFIO");
        Ok((!offered).then(|| Finding::error(name, problem).remedy(remedy)))
    }

    fn no_group(&self, name: &str, has_driver: bool) -> Result<Option<Finding>, SysfsError> {
        if is_iommu_off(&self.host)? {
            let problem = "is in no IOMMU group, and neither is any other device: the IOMMU is off";
            return Ok(Some(Finding::error(name, problem).remedy(
                "switch it on in the firmware (VT-d, AMD-Vi) and on the kernel's command line \
                 (intel_iommu=on)",
            )));
        }
        // Without driver it may be that: said already.
        Ok(has_driver.then(|| {
            Finding::error(name, "is in no IOMMU group")
                .remedy("its driver does not offer it through VFIO, or no IOMMU is in front of it")
        }))
    }

    fn viability(&self, target: &Target, group: &Group) -> Result<Vec<Finding>, SysfsError> {
        let name = &target.name;
        let members = Member::of_group(&self.host, group.number)?;
        // The device's own driver was complained about.
        let offenders = members
            .iter()
            .filter(|member| member.is_in_the_way() && !member.name.eq_ignore_ascii_case(name));
        let remedy = "bind it to vfio-pci or unbind it: the devices of a group are let in together";
        let mut findings: Vec<_> = offenders
            .map(|member| {
                let problem = format!("is not viable: {member}");
                Finding::error(format!("group {}", group.number), problem).remedy(remedy)
            })
            .collect();
        if group.no_iommu {
            findings.push(
                Finding::error(format!("group {}", group.number), "has no IOMMU")
                    .remedy("a device without IOMMU can write to all memory: switch the IOMMU on"),
            );
        } else if self.nodes {
            findings.extend(self.interrupt_remapping(self.is_by_cdev(target)));
        }
        Ok(findings)
    }

    /// Whether the device would be opened by its character device.
    fn is_by_cdev(&self, target: &Target) -> bool {
        match self.route {
            Route::Group => false,
            Route::Cdev => true,
            Route::Auto => self.cdev_access(target).is_some_and(|found| self.is_cdev_open(&found)),
        }
    }

    /// The device's own nodes, by the routes that are asked for.
    fn access(&self, target: &Target, group: &Group, is_offered: bool) -> Vec<Finding> {
        let by_group = || self.group_access(group, is_offered);
        match (self.route, self.cdev_access(target)) {
            (Route::Group, _) | (Route::Auto, None) => by_group(),
            (Route::Cdev, Some(by_cdev)) => by_cdev,
            (Route::Cdev, None) => {
                let problem = "has no character device: this kernel is built without them";
                vec![Finding::error(&target.name, problem).remedy("open it by its group")]
            }
            (Route::Auto, Some(by_cdev)) => {
                let by_group = by_group();
                match (self.is_cdev_open(&by_cdev), is_open(&by_group)) {
                    (true, _) => by_cdev,
                    (false, true) => by_group.into_iter().chain(as_notes(by_cdev)).collect(),
                    (false, false) => by_group.into_iter().chain(by_cdev).collect(),
                }
            }
        }
    }

    /// Whether the route by character device is open as far as nodes go: both of its parts must be.
    fn is_cdev_open(&self, by_cdev: &[Finding]) -> bool {
        is_open(by_cdev) && self.iommufd_node().is_none()
    }

    /// `None`: the kernel gives it no character device.
    fn cdev_access(&self, target: &Target) -> Option<Vec<Finding>> {
        let name = target.vfio_dev(&self.host).ok()??;
        let directory = target.sysfs.join("vfio-dev").join(&name);
        let number = DeviceNumber::in_sysfs(&self.host, directory)?;
        Some(self.own_node(&self.host.device_node(&format!("vfio/devices/{name}")), Some(number)))
    }

    fn group_access(&self, group: &Group, is_offered: bool) -> Vec<Finding> {
        let name = match group.no_iommu {
            true => format!("noiommu-{}", group.number),
            false => group.number.to_string(),
        };
        let expected = DeviceNumber::in_sysfs(&self.host, Path::new("class/vfio").join(name));
        if expected.is_none() && !is_offered {
            // The kernel makes the node when a driver of VFIO binds: why it is not there was said.
            return Vec::new();
        }
        self.own_node(&self.group_path(group), expected)
    }

    fn group_path(&self, group: &Group) -> PathBuf {
        let kind = if group.no_iommu { "noiommu-" } else { "" };
        self.host.device_node(&format!("vfio/{kind}{}", group.number))
    }

    fn holders(&self, name: &str, group: &Group) -> Vec<Finding> {
        let subject = format!("group {}", group.number);
        let holders = self.files.holders_of_group(&self.host, group.number);
        let certain = holders.certain.iter().map(|holder| {
            let finding = match holder.is_self {
                // The library shares what it opened itself.
                true => Finding::warning(&subject, format!("is held by {holder}")),
                false => Finding::error(&subject, format!("is held by {holder}")),
            };
            finding.remedy("end that process, or let it close the device: a group opens once")
        });
        let possible = holders.possible.iter().map(|holder| {
            let problem = format!("may be held by {holder}, which has a device of VFIO open");
            Finding::new(Severity::Note, name, problem)
                .remedy("the kernel does not say which; if this one is busy, end that process")
        });
        certain.chain(possible).collect()
    }

    fn needs_kvm(&self, name: &str, driver: &str) -> Option<Finding> {
        (self.with.kvm.is_none() && wants_kvm(driver)).then(|| {
            let problem = format!("needs a KVM VM that it is linked to: {driver} wants it");
            Finding::error(name, problem)
                .remedy("link it to one (`Vfio::kvm`), or use it through a virtual machine monitor")
        })
    }

    /// The token of a virtual function whose physical one is under VFIO.
    fn needs_token(&self, target: &Target, dir: &Dir) -> Result<Option<Finding>, SysfsError> {
        let Function::Virtual { of: physical, on_vfio: true } = Function::read(dir)? else {
            return Ok(None);
        };
        if self.with.vf_token.is_some() {
            return Ok(None);
        }
        let problem = format!("wants the VF token of {physical}");
        let finding = match self.is_by_cdev(target) {
            // The character device is asked for none before Linux 6.17, and which Linux it is says nothing:
            // distributions take changes over.
            true => Finding::warning(&target.name, problem + ", on Linux 6.17 and later"),
            false => Finding::error(&target.name, problem),
        };
        Ok(Some(
            finding.remedy(
                "give the token that was set there (`Vfio::vf_token`, `mdevbus --vf-token`)",
            ),
        ))
    }
}
