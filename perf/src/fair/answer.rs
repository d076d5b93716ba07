use super::pods::BODY_LEN;

/// Bytes of an answer's head.
const HEAD_MAX: usize = 4096;

/// What has come of an HTTP/1.1 answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    head: Vec<u8>,
    /// Once the head is whole: what the answer is, and bytes that are to come.
    body: Option<(Whole, usize)>,
}

/// A whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// It is the one that pods give.
    pub is_good: bool,
    /// It is the last one of its connection.
    pub is_last: bool,
}

const BAD: Whole = Whole { is_good: false, is_last: true };

impl Answer {
    /// Takes bytes of an answer. Once it is whole: what it is, and the next one begins.
    pub fn take(&mut self, mut bytes: &[u8]) -> Option<Whole> {
        if bytes.is_empty() {
            return None;
        }
        if self.body.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let from = before.saturating_sub(3);
            let end = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else {
                // Nobody sends such a head.
                return (self.head.len() > HEAD_MAX).then(|| self.finish(BAD));
            };
            let end = from + end + 4;
            bytes = &bytes[end - before..];
            self.body = Some(judge(&self.head[..end]));
        }
        let (whole, left) = self.body?;
        let more = bytes.len() > left;
        let left = left.saturating_sub(bytes.len());
        self.body = Some((whole, left));
        (left == 0).then(|| self.finish(if more { BAD } else { whole }))
    }

    fn finish(&mut self, whole: Whole) -> Whole {
        self.head.clear();
        self.body = None;
        whole
    }
}

/// What an answer with a head is, and how long its body.
fn judge(head: &[u8]) -> (Whole, usize) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let is_ok = lines.next().is_some_and(|line| line.starts_with("HTTP/1.1 200 "));
    let (mut length, mut is_last) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            is_last = value.trim().eq_ignore_ascii_case("close");
        }
    }
    (Whole { is_good: is_ok && length == Some(BODY_LEN), is_last }, length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_however_it_comes() {
        let answer = |head: &str, len: usize| {
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {len}\r\nvia: x\r\n\r\n");
            [head.as_bytes(), &vec![b'x'; len]].concat()
        };
        let whole = |is_good, is_last| Some(Whole { is_good, is_last });
        for (bytes, is) in [
            (answer("200 OK", BODY_LEN), whole(true, false)),
            (answer("200 OK\r\nConnection: close", BODY_LEN), whole(true, true)),
            (answer("200 OK", BODY_LEN + 1), whole(false, false)),
            (answer("502 Bad Gateway", 12), whole(false, false)),
        ] {
            for piece in [1, 7, 100, bytes.len()] {
                let mut seen = Answer::default();
                for _ in 0..2 {
                    let ends: Vec<_> = bytes.chunks(piece).map(|part| seen.take(part)).collect();
                    let (last, before) = ends.split_last().unwrap();
                    assert_eq!(*last, is, "{piece}");
                    assert!(before.iter().all(Option::is_none));
                }
            }
        }
        assert_eq!(Answer::default().take(&[b'x'; HEAD_MAX + 1]), Some(BAD));
    }
}
