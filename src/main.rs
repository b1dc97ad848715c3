//! The command line program: lists, inspects and probes mediated devices.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod failure;
mod migratable;
mod names;
mod progress;
mod report;
mod session;
mod state_file;
mod table;

use std::io::{self, Write as _};
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
    let mut stdout = io::stdout().lock();
    stdout.write_all(report.output.as_bytes())?;
    stdout.flush()?;
    let mut stderr = io::stderr().lock();
    for complaint in &report.complaints {
        writeln!(stderr, "mdevbus: {complaint}")?;
    }
    Ok(())
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
}
