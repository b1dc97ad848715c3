//! `docs/failures.md` names tests; a test that is renamed would leave it lying.

use std::fs;
use std::path::Path;

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
