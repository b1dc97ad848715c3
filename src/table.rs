//! Columns for people.

/// Lines of cells under a heading, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

/// What stands for a value that there is not.
pub(crate) const NOTHING: &str = "-";

impl Table {
    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_uppercase).to_vec()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| on_one_line(&cell)).collect());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What the kernel hands out may hold line ends and control characters.
pub(crate) fn on_one_line(cell: &str) -> String {
    let cell: String = cell
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let cell = cell.trim();
    if cell.is_empty() { NOTHING.to_owned() } else { cell.to_owned() }
}

/// A cell for a value that there may not be.
pub(crate) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let mut table = Table::new(["name", "what"]);
        table.row(["long name".into(), "two\nlines".into()]);
        table.row(["x".into(), cell(None::<u32>)]);
        table.row(["\u{1b}[31m".into(), String::new()]);
        let expected = "NAME       WHAT\nlong name  two lines\nx          -\n[31m       -\n";
        assert_eq!(table.render(), expected);
    }
}
