//! `docs/failures.md` names tests and messages; one that is renamed or reworded would leave it lying.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_tests_that_the_page_of_failures_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let mut checked = 0;
    // The last cell of a row: `file`: test, test; `file`: test
    let cells =
        page.lines().filter_map(|line| line.trim_end().strip_suffix('|')?.rsplit('|').next());
    for place in cells.flat_map(|cell| cell.split(';')) {
        let Some((file, names)) = place.split_once("`: ") else { continue };
        let file = file.rsplit('`').next().unwrap();
        let file = match file.contains('/') {
            true => root.join(file),
            false => root.join("tests/kernel/guest").join(file).with_extension("rs"),
        };
        let source = fs::read_to_string(&file).expect("the page names a file that is there");
        for name in names.split(',').map(str::trim) {
            assert!(source.contains(&format!("fn {name}()")), "{}: no {name}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn the_messages_that_the_page_of_failures_quotes_are_in_the_sources() {
    /// Fewer may be anywhere, or are the system's.
    const FEWEST_WORDS: usize = 7;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let folders = ["src", "vfio-common/src", "mdev-bus/src", "pci-bus/src"];
    let sources: String =
        folders.into_iter().map(|folder| words_below(root.join(folder))).collect();
    let mut checked = 0;
    // The first cell of a row; every second part of it is a quotation.
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    for quoted in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        // What differs is not in the sources, and what a sentence begins with may be elsewhere.
        for part in quoted.split(['…', ':', ';', ',', '(', ')']) {
            let words: Vec<_> = part.split_whitespace().filter(|word| *word != "cannot").collect();
            let differs = |word: &&str| word.contains(|c: char| c == '/' || c.is_ascii_digit());
            for run in words.split(differs).filter(|run| run.len() >= FEWEST_WORDS) {
                let run = run.join(" ");
                assert!(sources.contains(&run), "no source says `{run}`");
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "{checked}");
}

/// The Rust sources below a folder, with strings that go over several lines in one.
fn words_below(folder: PathBuf) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = entries.map(|path| match path.is_dir() {
        true => words_below(path),
        false => fs::read_to_string(path).unwrap().replace("\\\n", ""),
    });
    text.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}
