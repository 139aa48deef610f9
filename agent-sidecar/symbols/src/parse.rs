//! From bytes to a syntax tree to an [`Outline`], within limits: size, lines, time, stack. Past any of them the content
//! is unknown. It refuses to know what nodes mean. Next: `walk`.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use tree_sitter::{ParseOptions, Parser, Tree};

use crate::languages::Language;
use crate::outline::Outline;
use crate::walk;

/// Larger files are generated or data; a tree takes some 20 times the text in memory.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
/// More lines than anybody edits by hand.
pub const CONTENT_LINES_MAX: usize = 20_000;
/// A megabyte of source takes a fifth of it; broken input can cost the square of its length.
const PARSE_TIME_MAX: Duration = Duration::from_millis(500);
/// Elements of a tree whose time is looked at together: the clock costs more than a node.
const NODES_A_CLOCK: u32 = 4_096;
/// The parser's C code calls itself once a nesting level in a few places, and an overflow would end the whole process,
/// so it gets a stack that the deepest nesting within [`CONTENT_BYTES_MAX`] fits into. Only touched pages cost memory.
const STACK_BYTES: usize = 256 << 20;

/// It could not be read within the limits, or is no text.
#[derive(Debug)]
pub(crate) struct Unknown;

pub(crate) fn outline(language: Language, bytes: &[u8]) -> Result<Outline, Unknown> {
    if bytes.len() > CONTENT_BYTES_MAX || bytes.contains(&0) {
        return Err(Unknown);
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    if lines > CONTENT_LINES_MAX {
        return Err(Unknown);
    }
    thread::scope(|scope| {
        let parsing = thread::Builder::new()
            .name("symbols-parse".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || read(language, bytes))
            .map_err(|_| Unknown)?;
        parsing.join().unwrap_or(Err(Unknown))
    })
}

fn read(language: Language, bytes: &[u8]) -> Result<Outline, Unknown> {
    let deadline = Deadline::new(PARSE_TIME_MAX);
    let tree = tree(language, bytes, &deadline).ok_or(Unknown)?;
    walk::outline(language.grammar(), &tree, bytes, &deadline).ok_or(Unknown)
}

fn tree(language: Language, bytes: &[u8], deadline: &Deadline) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&language.grammar().language).ok()?;
    let mut in_time = |_: &_| if deadline.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}

/// When one content has had its time.
pub(crate) struct Deadline(Instant);

impl Deadline {
    fn new(after: Duration) -> Self {
        Self(Instant::now() + after)
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.0
    }

    /// The same for the `nth` of many small steps.
    pub(crate) fn is_over_at(&self, nth: u32) -> bool {
        nth.is_multiple_of(NODES_A_CLOCK) && self.is_over()
    }
}
