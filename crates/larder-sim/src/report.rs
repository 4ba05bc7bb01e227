//! Tables of what the replays counted.

use std::fmt::Write as _;

/// A table in the form that Markdown takes too.
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

    /// Adds the mean of each column that has a number in each row.
    pub fn means(&mut self) {
        let rows = &self.rows[1..];
        let mean = |column: usize| {
            let numbers = rows.iter().map(|row| row[column].parse::<f64>().ok());
            let sum = numbers.sum::<Option<f64>>()?;
            Some(format!("{:.2}", sum / rows.len() as f64))
        };
        let mut cells = vec![format!("mean of {}", rows.len())];
        cells.extend((1..self.rows[0].len()).map(|column| mean(column).unwrap_or_else(|| "-".to_owned())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_with_a_gap_has_no_mean() {
        let mut table = Table::new(["trace", "a", "b"]);
        table.row(vec!["one".into(), "10.0".into(), "20.0".into()]);
        table.row(vec!["two".into(), "20.0".into(), "-".into()]);
        table.means();
        assert!(table.text().ends_with("| mean of 2 | 15.00 |    - |\n"), "{}", table.text());
    }
}
