//! The program, as its users see it: on software devices and on mock sysfs trees.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

mod doctor;
mod failures_page;
mod json_page;
mod mistakes;
mod pci;
mod pci_binding;
mod saved;
mod software;
mod trees;

use std::process::{Command, Output};

use serde_json::Value;

/// What a run of the program left.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Ran {
    let program = env!("CARGO_BIN_EXE_mdevbus");
    ran(Command::new(program).args(arguments).output().unwrap())
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().expect("the program was not killed");
    Ran { status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The JSON of a run that must succeed without a word on standard error.
fn json(arguments: &[&str]) -> Value {
    let ran = run(&[&["--json"], arguments].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The one sentence of a run that must fail.
fn complaint(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    ran.stderr.strip_prefix("mdevbus: ").expect("the program names itself").trim().to_owned()
}
