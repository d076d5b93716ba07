//! Words of a line, each with its column, grouped by layer.

use super::error::{ParseError, Result};

/// A word, or a text in quotation marks (kept with them).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) column: usize,
}

/// The words of one layer.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    /// Stands after the word `quoting`.
    pub(crate) quoted: bool,
    /// Where the layer begins.
    pub(crate) column: usize,
}

/// Splits a line into words.
pub(crate) fn tokens(line: &str) -> Result<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut chars = line.char_indices().enumerate().peekable();
    while let Some((place, (start, c))) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let column = place + 1;
        let mut closed = c != '"';
        let mut end = start + c.len_utf8();
        let mut escaped = false;
        while let Some((_, (at, next))) = chars.peek().copied() {
            if c == '"' {
                if closed {
                    break;
                }
                closed = next == '"' && !escaped;
                escaped = next == '\\' && !escaped;
            } else if next.is_whitespace() {
                break;
            }
            end = at + next.len_utf8();
            chars.next();
        }
        if !closed {
            return Err(ParseError::new(column, "this text has no closing `\"`"));
        }
        tokens.push(Token { text: &line[start..end], column });
    }
    Ok(tokens)
}

/// Splits a line into the words of its layers.
pub(crate) fn layers(line: &str) -> Result<Vec<Words<'_>>> {
    let mut layers = vec![Words { tokens: Vec::new(), quoted: false, column: 1 }];
    for token in tokens(line)? {
        let quoted = token.text == "quoting";
        match layers.last_mut() {
            Some(layer) if token.text != "/" && !quoted => {
                if layer.tokens.is_empty() {
                    layer.column = token.column;
                }
                layer.tokens.push(token);
            }
            _ => {
                layers.push(Words { tokens: Vec::new(), quoted, column: token.column });
            }
        }
    }
    match layers.iter().find(|layer| layer.tokens.is_empty()) {
        Some(empty) => Err(ParseError::new(empty.column, "expected a layer, such as `ip`, here")),
        None => Ok(layers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_columns_and_texts_stay_whole() {
        let found = layers("é ip  / data \"a / \\\" b\" quoting x").unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].tokens[1].text, found[0].tokens[1].column), ("ip", 3));
        assert_eq!(found[1].tokens[1].text, "\"a / \\\" b\"");
        assert!(found[2].quoted);
    }

    #[test]
    fn empty_layers_and_open_texts_are_errors() {
        for (line, column) in
            [("", 1), ("ip / ", 4), ("/ ip", 1), ("ip / / tcp", 4), ("data \"x", 6)]
        {
            assert_eq!(layers(line).unwrap_err().column, column, "{line}");
        }
    }
}
