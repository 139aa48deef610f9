//! What a check prints, kept as its begin and its end within a bound, whatever it prints in all. It reads no format.

use std::collections::VecDeque;

use crate::outcome::Output;

/// The first error explains the others; the end has the summary.
const HEAD_SHARE: usize = 4;

pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_max: usize,
    tail_max: usize,
    printed: u64,
}

impl Capture {
    pub(super) fn new(bytes_max: usize) -> Self {
        let head_max = bytes_max / HEAD_SHARE;
        Self { head: Vec::new(), tail: VecDeque::new(), head_max, tail_max: bytes_max - head_max, printed: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.printed += bytes.len() as u64;
        let to_head = bytes.len().min(self.head_max - self.head.len());
        self.head.extend_from_slice(&bytes[..to_head]);
        let rest = &bytes[to_head..];
        let rest = &rest[rest.len().saturating_sub(self.tail_max)..];
        let too_many = (self.tail.len() + rest.len()).saturating_sub(self.tail_max);
        self.tail.drain(..too_many);
        self.tail.extend(rest);
    }

    pub(super) fn finish(self) -> Output {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let left_out_bytes = self.printed - kept;
        let tail: Vec<u8> = self.tail.into();
        let text = if left_out_bytes == 0 {
            // A character may lie across the two.
            String::from_utf8_lossy(&[self.head, tail].concat()).into_owned()
        } else {
            let head = String::from_utf8_lossy(&self.head);
            format!("{head}\n[... {left_out_bytes} bytes left out ...]\n{}", String::from_utf8_lossy(&tail))
        };
        Output { text, printed_bytes: self.printed, left_out_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_begin_and_the_end_and_what_was_left_out_is_counted() {
        for step in [1, 3, 7, 1_000] {
            let all: Vec<u8> = (0..1_000u32).flat_map(|n| format!("{n} ").into_bytes()).collect();
            let mut capture = Capture::new(400);
            all.chunks(step).for_each(|c| capture.push(c));
            let output = capture.finish();
            assert!(output.text.starts_with("0 1 2 ") && output.text.ends_with(" 998 999 "), "{}", output.text);
            assert_eq!(output.printed_bytes, all.len() as u64);
            assert_eq!(output.left_out_bytes, all.len() as u64 - 400);
        }
    }

    #[test]
    fn a_short_output_is_kept_whole_whatever_its_bytes() {
        let mut capture = Capture::new(8);
        capture.push("aé".as_bytes());
        capture.push(b"\xff");
        let output = capture.finish();
        assert_eq!((output.text.as_str(), output.left_out_bytes), ("aé\u{fffd}", 0));
    }
}
