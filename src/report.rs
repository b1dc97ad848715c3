//! What a subcommand has to say.

use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;

/// What goes to standard output, what to standard error, and the exit status.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) output: String,
    /// One sentence each.
    pub(crate) complaints: Vec<String>,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Good,
    Failed,
    Usage,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Good => Self::SUCCESS,
            Status::Failed => Self::FAILURE,
            Status::Usage => Self::from(2),
        }
    }
}

impl Report {
    /// All went well, and this is what was found.
    pub(crate) fn of(output: String) -> Self {
        Self { output, complaints: Vec::new(), status: Status::Good }
    }

    /// A value as indented JSON.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let mut output = serde_json::to_string_pretty(value).map_err(Failure::Json)?;
        output.push('\n');
        Ok(Self::of(output))
    }

    /// Something failed beside what was found.
    pub(crate) fn fail(mut self, complaints: impl IntoIterator<Item = String>) -> Self {
        let before = self.complaints.len();
        self.complaints.extend(complaints);
        if self.complaints.len() > before {
            self.status = Status::Failed;
        }
        self
    }

    /// Something is worth a word that is no failure.
    pub(crate) fn complain(mut self, complaints: impl IntoIterator<Item = String>) -> Self {
        self.complaints.extend(complaints);
        self
    }
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let status = match failure {
            Failure::ValueTooWide { .. } | Failure::NoKernelDrivers => Status::Usage,
            _ => Status::Failed,
        };
        Self { output: String::new(), complaints: vec![failure.sentence()], status }
    }
}
