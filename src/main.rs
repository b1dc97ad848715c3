//! The command line program: lists, inspects and probes mediated devices and PCI functions.

#![forbid(unsafe_code)]

mod arguments;
mod bus;
mod commands;
mod failure;
mod migratable;
mod names;
mod progress;
mod report;
mod session;
mod state_file;
mod table;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

// Links the drivers, which register themselves.
use drivers as _;

use arguments::Arguments;
use report::Report;
use session::Session;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(arguments.verbose);
    let report = Session::new(&arguments)
        .and_then(|session| commands::run(&arguments.command, &session))
        .unwrap_or_else(Report::from);
    match print(&report) {
        Ok(()) => report.status.into(),
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => report.status.into(),
        Err(_) => ExitCode::FAILURE,
    }
}

fn print(report: &Report) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    // What went wrong is said even where the output cannot go; if it cannot be said either, there
    // is nobody to tell.
    let printed = {
        let mut stdout = io::stdout().lock();
        stdout.write_all(report.output.as_bytes()).and_then(|()| stdout.flush())
    };
    for complaint in &report.complaints {
        drop(writeln!(stderr, "mdevbus: {}", escaped(complaint)));
    }
    if let Err(error) = &printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        drop(writeln!(stderr, "mdevbus: cannot write to standard output: {error}"));
    }
    printed
}

/// Paths and what the kernel hands out may hold line ends and control characters.
fn escaped(complaint: &str) -> String {
    let escape = |character: char| match character {
        character if character.is_control() => character.escape_default().to_string(),
        character => character.to_string(),
    };
    complaint.chars().map(escape).collect()
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
