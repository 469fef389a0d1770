//! Tables: columns as wide as their widest cell.

use std::iter::zip;

use unicode_width::UnicodeWidthStr;

/// Rows of cells under headings.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()], right: Vec::new() }
    }

    /// Aligns these columns to the right.
    pub fn right(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns separated by blanks, headings in capitals.
    pub fn plain(&self) -> String {
        let widths = self.widths();
        let headings = self.rows[0].iter().map(|cell| cell.to_uppercase()).collect();
        let lines = std::iter::once(&headings).chain(&self.rows[1..]);
        lines.map(|row| self.cells(row, &widths).join("  ").trim_end().to_string() + "\n").collect()
    }

    /// A Markdown table.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = zip(0.., &widths).map(|(i, width)| {
            if self.is_right(i) { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) }
        });
        let mut text = line(self.cells(&self.rows[0], &widths)) + &line(rule.collect());
        text.extend(self.rows[1..].iter().map(|row| line(self.cells(row, &widths))));
        text
    }

    fn widths(&self) -> Vec<usize> {
        let column = |i: usize| self.rows.iter().map(move |row| row[i].width()).max().unwrap_or(0).max(3);
        (0..self.rows[0].len()).map(column).collect()
    }

    fn cells(&self, row: &[String], widths: &[usize]) -> Vec<String> {
        let pad = |(i, (cell, width)): (usize, (&String, &usize))| {
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            if self.is_right(i) { blanks + cell } else { cell.clone() + &blanks }
        };
        zip(row, widths).enumerate().map(pad).collect()
    }

    fn is_right(&self, column: usize) -> bool {
        self.right.contains(&column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["name", "t/s"]).right(&[1]);
        table.row(["a".into(), "12.50".into()]);
        table.row(["模型".into(), "1".into()]);
        table
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table().plain(), "NAME    T/S\na     12.50\n模型      1\n");
        let markdown = "| name |   t/s |\n| ---- | ----: |\n| a    | 12.50 |\n| 模型 |     1 |\n";
        assert_eq!(table().markdown(), markdown);
    }
}
