//! What an examination finds.

use std::error::Error as _;
use std::fmt;

use crate::sysfs::SysfsError;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// The device opens, and something may fail later.
    Warning,
    /// The device does not open.
    Error,
}

/// One thing that an examination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: a node, a group, a device, a limit.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it; `None` when there is nothing to be done.
    pub remedy: Option<String>,
}

/// What is in the way of one of several routes, told as a note.
pub(super) fn as_notes(findings: Vec<Finding>) -> impl Iterator<Item = Finding> {
    findings.into_iter().map(|finding| Finding { severity: Severity::Note, ..finding })
}

/// Whether nothing is in the way.
pub(super) fn is_open(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Error)
}

impl Finding {
    /// A finding without remedy.
    pub fn new(severity: Severity, subject: impl ToString, problem: impl Into<String>) -> Self {
        Self { severity, subject: subject.to_string(), problem: problem.into(), remedy: None }
    }

    /// [`Finding::new`] of an error.
    pub fn error(subject: impl ToString, problem: impl Into<String>) -> Self {
        Self::new(Severity::Error, subject, problem)
    }

    /// [`Finding::new`] of a warning.
    pub fn warning(subject: impl ToString, problem: impl Into<String>) -> Self {
        Self::new(Severity::Warning, subject, problem)
    }

    /// [`Finding::new`] of a note.
    pub fn note(subject: impl ToString, problem: impl Into<String>) -> Self {
        Self::new(Severity::Note, subject, problem)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What cannot be read cannot be examined.
impl From<SysfsError> for Finding {
    fn from(error: SysfsError) -> Self {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Self::error(error.path().display(), format!("cannot be read: {error}{source}"))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.severity, self.subject, self.problem)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}
