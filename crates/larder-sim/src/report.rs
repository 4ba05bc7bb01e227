//! Tables in the form that Markdown takes too.

use std::fmt::Write as _;

/// Text in rows and columns.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table with these column heads.
    pub fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![heads.into_iter().map(str::to_owned).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text of it.
    pub fn text(&self) -> String {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                let _ = if column == 0 {
                    write!(text, "| {cell}{padding} ")
                } else {
                    write!(text, "| {padding}{cell} ")
                };
            }
            text.push_str("|\n");
            if n == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(*width);
                    let _ =
                        if column == 0 { write!(text, "|-{dashes}-") } else { write!(text, "|-{dashes}:") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}
