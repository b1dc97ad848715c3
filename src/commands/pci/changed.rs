//! Functions whose drivers were changed, or should have been.

use std::collections::BTreeSet;

use pci_bus::Address;
use pci_bus::binding::{self, Binder, BindingError, Force, State};
use serde::Serialize;

use crate::arguments::Change;
use crate::failure::{Failure, sentence};
use crate::report::Report;
use crate::session::Session;
use crate::table::on_one_line;

/// What changes drivers of a session's machine.
pub(super) struct Changer {
    pub(super) binder: Binder,
    pub(super) force: Force,
}

impl Changer {
    pub(super) fn new(session: &Session, change: &Change) -> Result<Self, Failure> {
        if session.is_software() {
            return Err(Failure::NoKernelDrivers);
        }
        let binder = Binder::new(session.host.clone(), &change.state_dir);
        let force = if change.force { Force::Yes } else { Force::No };
        Ok(Self { binder, force })
    }
}

pub(super) struct Changed(Vec<(Address, Result<binding::Change, BindingError>)>);

#[derive(Debug, Serialize)]
struct Row {
    address: String,
    before: Option<State>,
    after: Option<State>,
    remark: Option<String>,
    error: Option<String>,
}

impl Changed {
    /// Each once, in the order in which they were named; one that fails does not keep the others.
    pub(super) fn each(
        bdf: &[Address],
        change: impl Fn(Address) -> Result<binding::Change, BindingError>,
    ) -> Self {
        let mut named = BTreeSet::new();
        let once = bdf.iter().copied().filter(|address| named.insert(*address));
        Self(once.map(|address| (address, change(address))).collect())
    }

    pub(super) fn report(self, session: &Session) -> Result<Report, Failure> {
        let failed = |(_, changed): &(_, Result<_, BindingError>)| match changed {
            Ok(_) => None,
            Err(error) => Some(sentence(error)),
        };
        let complaints: Vec<_> = self.0.iter().filter_map(failed).collect();
        if session.json {
            let rows: Vec<_> = self.0.into_iter().map(Row::from).collect();
            return Ok(Report::json(&rows)?.fail(complaints));
        }
        let changed = self.0.iter().filter_map(|(_, changed)| changed.as_ref().ok());
        let lines = changed.map(|change| format!("{}\n", on_one_line(&change.to_string())));
        Ok(Report::of(lines.collect()).fail(complaints))
    }
}

impl From<(Address, Result<binding::Change, BindingError>)> for Row {
    fn from((address, changed): (Address, Result<binding::Change, BindingError>)) -> Self {
        let address = address.to_string();
        match changed {
            Ok(binding::Change { before, after, remark, .. }) => {
                let remark = remark.map(|remark| remark.to_string());
                Self { address, before: Some(before), after: Some(after), remark, error: None }
            }
            Err(error) => {
                let error = Some(sentence(&error));
                Self { address, before: None, after: None, remark: None, error }
            }
        }
    }
}
