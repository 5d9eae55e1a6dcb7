//! What is kept of what a command prints.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::redact::{Secrets, redact};

/// How many bytes of each stream are kept.
pub(crate) const KEPT: usize = 64 * 1024;
const LINES: usize = 20;
const LINE_CHARS: usize = 500;

/// The end of a stream, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let chunk_kept = &chunk[chunk.len().saturating_sub(KEPT)..];
        let excess = (self.bytes.len() + chunk_kept.len()).saturating_sub(KEPT);
        self.bytes.drain(..excess);
        self.bytes.extend(chunk_kept);
        self.dropped += (excess + chunk.len() - chunk_kept.len()) as u64;
    }

    /// The kept text, redacted. A line whose beginning was dropped is left out whole:
    /// half a secret could not be recognised.
    pub(crate) fn text(&mut self, secrets: &Secrets) -> String {
        let bytes = &*self.bytes.make_contiguous();
        if self.dropped == 0 {
            return redact(&String::from_utf8_lossy(bytes), secrets);
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => redact(&String::from_utf8_lossy(&bytes[end + 1..]), secrets),
            None => format!(
                "(one line of {} bytes, not shown)",
                self.dropped + bytes.len() as u64
            ),
        }
    }
}

/// Reads to the end, handing every chunk on; an error of the pipe is its end.
pub(crate) async fn read_all(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        take(&buffer[..count]);
    }
}

/// The last lines of a redacted text, safe for a terminal: without control characters, each of bounded length.
pub(crate) fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| {
            let clean = line.trim_end().replace('\t', "    ");
            clean
                .chars()
                .filter(|c| !c.is_control())
                .take(LINE_CHARS)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_drops_a_line_that_was_cut() {
        let mut tail = Tail::default();
        for number in 0..20_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.text(&Secrets::default());
        assert!(text.len() <= KEPT);
        assert!(text.starts_with("line "), "{}", &text[..20]);
        assert!(text.ends_with("line 19999\n"));
    }

    #[test]
    fn a_secret_cut_in_half_is_not_shown() {
        let secrets = Secrets::new(["SECRETVALUE"]);
        let mut tail = Tail::default();
        tail.push(b"SECRETVALUE");
        tail.push(&vec![b'x'; KEPT - 5]);
        assert_eq!(
            tail.text(&secrets),
            format!("(one line of {} bytes, not shown)", KEPT + 6)
        );
        tail.push(b"\nnext\n");
        assert_eq!(tail.text(&secrets), "next\n");
    }

    #[test]
    fn one_chunk_larger_than_all_is_counted_right() {
        let mut tail = Tail::default();
        tail.push(b"ab");
        tail.push(&vec![b'x'; KEPT + 3]);
        assert_eq!((tail.bytes.len(), tail.dropped), (KEPT, 5));
    }

    #[test]
    fn last_lines_hold_no_escape_and_no_end() {
        let long = "y".repeat(2_000);
        let lines = last_lines(&format!("a\n\n\u{1b}[31mred\u{7}\t!\n{long}\n"));
        assert_eq!(lines[..2], ["a", "[31mred    !"]);
        assert_eq!(lines[2].len(), LINE_CHARS);
        assert_eq!(last_lines(&"z\n".repeat(50)).len(), LINES);
    }
}
