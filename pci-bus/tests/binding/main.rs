//! Kernel drivers of PCI functions, on a mock sysfs whose kernel is simulated: it acts on each write, and
//! fails, dies or waits where a test wants it to.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

mod kernel;
mod machine;
mod records;
mod refusals;
mod steps;
mod uses;
mod waits;
