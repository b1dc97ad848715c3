//! `docs/json.md` describes every field that the program prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::json;

const CARD: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const SPARSE: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003";

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            names.extend(fields.keys().cloned());
            fields.values().for_each(|value| collect(value, names));
        }
        Value::Array(rows) => rows.iter().for_each(|row| collect(row, names)),
        _ => {}
    }
}

/// The lines of the page from the heading that names a subcommand to the next heading.
fn section<'a>(page: &'a str, subcommand: &str) -> &'a str {
    let heading = |text: &&str| {
        let line = text.lines().next().unwrap_or_default();
        line.split(", ").any(|name| name.trim() == format!("`{subcommand}`"))
    };
    page.split("\n## ").find(heading).expect("the page has a heading for each subcommand")
}

#[test]
fn the_page_of_json_describes_each_field_of_each_subcommand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/json.md")).unwrap();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("card.state");
    let file = file.to_str().unwrap();
    // Where a section refers to another, that one counts, too.
    let runs: [(&str, &[&str], Option<&str>); 13] = [
        ("list", &["list"], None),
        ("types", &["types"], None),
        ("drivers", &["drivers"], None),
        ("show", &["show", SPARSE], None),
        ("probe", &["probe"], None),
        ("doctor", &["doctor"], None),
        ("pci list", &["pci", "list"], None),
        ("pci show", &["pci", "show", "0000:00:04.0"], Some("show")),
        ("pci probe", &["pci", "probe"], Some("probe")),
        ("peek", &["peek", SPARSE, "0", "0"], None),
        ("poke", &["poke", CARD, "0", "7", "1", "--width", "1"], None),
        ("save", &["save", CARD, file], None),
        ("restore", &["restore", CARD, file], None),
    ];
    for (subcommand, arguments, other) in runs {
        let mut names = BTreeSet::new();
        collect(&json(&[&["--sim"], arguments].concat()), &mut names);
        assert!(!names.is_empty(), "{subcommand}");
        let sections = [Some(subcommand), other].into_iter().flatten();
        let text: String = sections.map(|name| section(&page, name)).collect();
        let words: BTreeSet<_> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{subcommand}: {missing:?}");
    }
}
