//! What the replays counted, in percent, and what follows from it.

use crate::report::Table;

/// Percentages by trace and cache; a gap where a cache cannot take a trace.
#[derive(Debug, Default)]
pub struct Percents {
    heads: Vec<String>,
    rows: Vec<(String, Vec<Option<f64>>)>,
}

/// How one column compares with others, by trace and in the mean over those traces that all of them can take.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The column that is compared.
    pub ours: String,
    /// A trace each, and at last the mean.
    pub lines: Vec<Line>,
}

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The trace, or how many traces this is the mean of.
    pub name: String,
    /// What the column has.
    pub ours: f64,
    /// What the best of the others has.
    pub other: f64,
    /// Which of the others that is.
    pub who: String,
}

impl Line {
    /// How many points the column is above the best of the others.
    pub fn difference(&self) -> f64 {
        self.ours - self.other
    }
}

impl Percents {
    /// Starts with these columns.
    pub fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self { heads: heads.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a trace.
    pub fn row(&mut self, trace: &str, cells: Vec<Option<f64>>) {
        self.rows.push((trace.to_owned(), cells));
    }

    /// The mean of a column that has no gap.
    fn mean(&self, column: usize) -> Option<f64> {
        let sum = self.rows.iter().map(|(_, cells)| cells[column]).sum::<Option<f64>>()?;
        Some(sum / self.rows.len() as f64)
    }

    /// Compares the column `ours` with the best of `others`. Columns with gaps count where they have numbers,
    /// and not in the mean.
    ///
    /// # Panics
    /// If there is no such column, or only a column with gaps is left for the mean.
    pub fn compare(&self, ours: &str, others: &[&str]) -> Comparison {
        let column = |head: &str| {
            self.heads.iter().position(|other| other == head).expect("columns are compared that there are")
        };
        let at = column(ours);
        let others: Vec<usize> = others.iter().map(|head| column(head)).collect();
        let line = |name: String, cell: &dyn Fn(usize) -> Option<f64>| {
            let best = others.iter().filter_map(|&other| Some((cell(other)?, other)));
            let (other, who) = best.max_by(|a, b| a.0.total_cmp(&b.0)).expect("one of them takes all traces");
            Line { name, ours: cell(at).expect("ours takes all traces"), other, who: self.heads[who].clone() }
        };
        let mut lines: Vec<Line> =
            self.rows.iter().map(|(trace, cells)| line(trace.clone(), &|column| cells[column])).collect();
        lines.push(line(format!("mean of {}", self.rows.len()), &|column| self.mean(column)));
        Comparison { ours: ours.to_owned(), lines }
    }

    /// The text of it, with the means.
    pub fn text(&self) -> String {
        let number = |digits: usize| {
            move |cell: Option<f64>| cell.map_or_else(|| "-".to_owned(), |cell| format!("{cell:.digits$}"))
        };
        let mut table = Table::new(["trace"].into_iter().chain(self.heads.iter().map(String::as_str)));
        for (trace, cells) in &self.rows {
            let cells = cells.iter().copied().map(number(1));
            table.row([trace.clone()].into_iter().chain(cells).collect());
        }
        let means = (0..self.heads.len()).map(|column| self.mean(column)).map(number(2));
        table.row([format!("mean of {}", self.rows.len())].into_iter().chain(means).collect());
        table.text()
    }
}

impl Comparison {
    /// The last line: the mean.
    pub fn mean(&self) -> &Line {
        self.lines.last().expect("a comparison has the mean at least")
    }

    /// The text of it.
    pub fn text(&self) -> String {
        let mut table = Table::new(["trace", &self.ours, "against", "", "points"]);
        for line in &self.lines {
            table.row(vec![
                line.name.clone(),
                format!("{:.2}", line.ours),
                line.who.clone(),
                format!("{:.2}", line.other),
                format!("{:+.2}", line.difference()),
            ]);
        }
        table.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percents() -> Percents {
        let mut table = Percents::new(["a", "b", "c", "d"]);
        table.row("one", vec![Some(10.0), Some(20.0), None, Some(8.0)]);
        table.row("two", vec![Some(20.0), Some(10.0), Some(50.0), Some(14.0)]);
        table
    }

    #[test]
    fn a_column_with_a_gap_has_no_mean() {
        let text = percents().text();
        assert!(text.ends_with("| mean of 2 | 15.00 | 15.00 |    - | 11.00 |\n"), "{text}");
    }

    #[test]
    fn the_best_of_the_others_is_found_for_each_trace_and_for_the_mean() {
        let comparison = percents().compare("a", &["b", "c", "d"]);
        let lines: Vec<_> =
            comparison.lines.iter().map(|line| (line.who.as_str(), line.difference())).collect();
        assert_eq!(lines, [("b", -10.0), ("c", -30.0), ("b", 0.0)]);
        assert_eq!(comparison.mean().name, "mean of 2");
        let text = comparison.text();
        assert!(text.ends_with("| mean of 2 | 15.00 |       b | 15.00 |  +0.00 |\n"), "{text}");
    }
}
