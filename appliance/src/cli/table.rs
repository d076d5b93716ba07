use std::fmt::Write as _;

/// Rows of cells under a header, printed as aligned columns.
#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. One that begins with `>` holds numbers: it
    /// is aligned to the right.
    pub fn new(columns: &[&'static str]) -> Self {
        Table {
            header: columns.iter().map(|name| name.trim_start_matches('>')).collect(),
            right: columns.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. An empty cell is shown as `-`.
    pub fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let cells = cells.into_iter().map(|cell| match cell.into() {
            empty if empty.is_empty() => "-".to_owned(),
            cell => cell,
        });
        self.rows.push(cells.collect());
    }

    /// The table as text, every line indented by `indent` spaces and ended by
    /// a newline. Without rows, `none` stands instead.
    pub fn render(&self, indent: usize, none: &str) -> String {
        let mut out = String::new();
        if self.rows.is_empty() {
            let _ = writeln!(out, "{:indent$}{none}", "");
            return out;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.header[column].chars().count())
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = " ".repeat(indent);
            for ((cell, width), right) in cells.zip(&widths).zip(&self.right) {
                if *right {
                    let _ = write!(text, "{cell:>width$}  ");
                } else {
                    let _ = write!(text, "{cell:<width$}  ");
                }
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(&mut self.header.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", ">COUNT", "STATE"]);
        table.row(["a", "7", "up"]);
        table.row(["longer", "1234567", ""]);
        assert_eq!(
            table.render(1, "none"),
            " NAME      COUNT  STATE\n a             7  up\n longer  1234567  -\n"
        );
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::new(&["NAME"]).render(0, "no flows"), "no flows\n");
    }
}
