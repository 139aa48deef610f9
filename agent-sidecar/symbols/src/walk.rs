//! From a syntax tree to an [`Outline`]: one pass over all nodes, on the heap, so that no nesting is too deep. What a
//! node kind means comes from [`crate::grammar`]; what a definition is while it is read is a [`Frame`]. It refuses to
//! know languages by name. Next: `diff`.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use tree_sitter::{Node, Tree};

use crate::frame::{Frame, NAME_BYTES_MAX};
use crate::grammar::{Grammar, Is, Kind, Leaf, Mode, Part};
use crate::outline::{Definition, Outline};
use crate::parse::Deadline;
use crate::tokens::{Token, Tokens};

/// A definition a line, in the longest file that is read; more is generated code on few lines.
const DEFINITIONS_MAX: usize = 20_000;
/// Definitions inside definitions: people stop at four or five. What is deeper is part of what it is in.
const FRAMES_MAX: usize = 64;

/// Nothing, if it takes too long or has too many definitions.
pub(crate) fn outline(grammar: &'static Grammar, tree: &Tree, source: &[u8], deadline: &Deadline) -> Option<Outline> {
    let mut walk = Walk::new(grammar, source);
    let mut cursor = tree.walk();
    let mut nodes = 0_u32;
    'down: loop {
        nodes = nodes.wrapping_add(1);
        if deadline.is_over_at(nodes) || walk.definitions.len() > DEFINITIONS_MAX {
            return None;
        }
        if walk.enter(cursor.node(), cursor.field_id()) && cursor.goto_first_child() {
            continue;
        }
        loop {
            walk.leave();
            if cursor.goto_next_sibling() {
                continue 'down;
            }
            if !cursor.goto_parent() {
                return Some(walk.outline());
            }
        }
    }
}

/// A node that the walk is in.
struct Step {
    kind: &'static Kind,
    mode: Mode,
    is_leaf: bool,
    is_comment: bool,
    has_frame: bool,
    /// Its end is a token as well: white space can carry the shape.
    has_mark: bool,
}

struct Use {
    name: u32,
    line: u32,
    is_member: bool,
}

/// What belongs to the definition after it.
struct Ahead {
    depth: usize,
    /// How many frames there are around both.
    frames: usize,
    tokens: Tokens,
}

struct Walk<'a> {
    grammar: &'static Grammar,
    source: &'a [u8],
    path: Vec<Step>,
    frames: Vec<Frame>,
    ahead: Option<Ahead>,
    /// How deep the attribute is that the walk is in.
    attribute: Option<usize>,
    /// How deep the text is that the walk is in.
    verbatim: Option<usize>,
    /// A comma was read that may stand before a closing bracket.
    comma: bool,
    /// The source up to here is hashed.
    covered: usize,
    tokens: Tokens,
    comments: Tokens,
    errors: u32,
    names: HashMap<&'a [u8], u32>,
    uses: Vec<Use>,
    definitions: Vec<Definition>,
}

impl<'a> Walk<'a> {
    fn new(grammar: &'static Grammar, source: &'a [u8]) -> Self {
        Self {
            grammar,
            source,
            path: Vec::new(),
            frames: Vec::new(),
            ahead: None,
            attribute: None,
            verbatim: None,
            comma: false,
            covered: 0,
            tokens: Tokens::default(),
            comments: Tokens::default(),
            errors: 0,
            names: HashMap::new(),
            uses: Vec::new(),
            definitions: Vec::new(),
        }
    }

    /// Whether to go on below it.
    fn enter(&mut self, node: Node<'_>, field: Option<NonZeroU16>) -> bool {
        let kind = self.grammar.kind_of(node.kind_id());
        let text = &self.source[node.byte_range()];
        let is_leaf = node.child_count() == 0;
        if kind.is(Is::Comment) {
            self.comments.words(text);
            self.covered = self.covered.max(node.end_byte());
            self.path.push(Step { is_comment: true, ..Step::new(kind, Mode::Ignore, is_leaf) });
            return false;
        }
        let closes = is_leaf && matches!(text, b")" | b"]" | b"}" | b">");
        self.settle_comma(closes);
        self.errors += u32::from(node.is_error() || node.is_missing());
        self.attribute_begins(kind, is_leaf && !node.is_named());

        let mut step = Step::new(kind, self.path.last().map_or(Mode::Use, |step| step.mode), is_leaf);
        let is_body = self.part_begins(&mut step, &node, field, text);
        step.has_frame = !is_body && self.frame_begins(kind);
        step.has_mark = self.token(&node, kind, is_leaf, text);
        if let Some(leaf) = kind.leaf.filter(|_| is_leaf) {
            self.name(leaf, step.mode, text, node.start_position().row);
        }
        self.path.push(step);
        !is_leaf
    }

    fn leave(&mut self) {
        let Some(step) = self.path.pop() else { return };
        let depth = self.path.len();
        if step.is_comment {
            return;
        }
        if !step.is_leaf {
            self.settle_comma(false);
        }
        self.verbatim = self.verbatim.filter(|verbatim| *verbatim != depth);
        if step.has_mark {
            self.feed(Token::CLOSE);
        }
        if step.has_frame {
            self.frame_ends();
        } else if let Some(frame) = self.frames.last_mut() {
            frame.show(depth);
        }
        if self.attribute == Some(depth) {
            self.attribute = None;
        } else {
            self.ahead = self.ahead.take().filter(|ahead| ahead.depth < depth);
        }
    }

    fn takes_definitions(&self) -> bool {
        self.frames.last().is_none_or(Frame::takes_definitions)
    }

    fn attribute_begins(&mut self, kind: &Kind, is_word: bool) {
        let is_prefix = is_word && self.path.last().is_some_and(|step| step.kind.is(Is::Prefix));
        if self.attribute.is_none() && (is_prefix || kind.is(Is::Attribute)) && self.takes_definitions() {
            let depth = self.path.len();
            self.attribute = Some(depth);
            let frames = self.frames.len();
            self.ahead.get_or_insert_with(|| Ahead { depth, frames, tokens: Tokens::default() });
        }
    }

    /// What the node is to the one above it. True: it is what users of the definition do not see.
    fn part_begins(&mut self, step: &mut Step, node: &Node<'_>, field: Option<NonZeroU16>, text: &[u8]) -> bool {
        let depth = self.path.len();
        let part = self.path.last().and_then(|above| above.kind.part(field));
        let frame = self.frames.last_mut();
        let mut is_body = false;
        match part {
            Some(Part::Name(otherwise)) => {
                let name = frame.filter(|frame| frame.wants_name(depth)).zip(name_of(node, text));
                step.mode = if name.is_some() { Mode::Ignore } else { otherwise };
                if let Some((frame, name)) = name {
                    frame.named(name);
                }
            }
            Some(Part::Container) => {
                step.mode = Mode::Use;
                if let Some(frame) = frame.filter(|frame| frame.wants_part(depth)) {
                    frame.part(one_line(text));
                }
            }
            Some(Part::Body) if step.kind.is(Is::Function) => {
                if let Some(frame) = frame {
                    frame.becomes_function(depth);
                }
            }
            Some(Part::Body) => is_body = frame.is_some_and(|frame| frame.hide(depth)),
            Some(Part::Names(mode)) => step.mode = mode,
            None if step.kind.is(Is::Body) => is_body = frame.is_some_and(|frame| frame.hide(depth)),
            None => {}
        }
        if let Some(mode) = step.kind.names.filter(|_| step.mode != Mode::Ignore) {
            step.mode = mode;
        }
        is_body
    }

    fn frame_begins(&mut self, kind: &Kind) -> bool {
        let begins = kind.def.is_some() || kind.is(Is::Scope);
        if !begins || !self.takes_definitions() || self.frames.len() == FRAMES_MAX {
            return false;
        }
        let mut frame = Frame::new(kind.def, self.path.len(), self.frames.last(), self.uses.len());
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.frames == self.frames.len());
        if let Some((tokens, ahead)) = frame.tokens().zip(ahead) {
            tokens.add(Token::number(ahead.tokens.hash()));
        }
        self.frames.push(frame);
        true
    }

    fn frame_ends(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if !frame.bound.is_empty() {
            let inside = self.uses.split_off(frame.uses_from);
            self.uses.extend(inside.into_iter().filter(|used| used.is_member || !frame.bound.contains(&used.name)));
        }
        frame.end(&mut self.frames, self.grammar.table.separator, &mut self.definitions);
    }

    /// Whether the node's end is to be told as well.
    fn token(&mut self, node: &Node<'_>, kind: &Kind, is_leaf: bool, text: &[u8]) -> bool {
        if self.verbatim.is_some() {
            return false;
        }
        let before = self.source.get(self.covered..node.start_byte()).unwrap_or_default().trim_ascii();
        if !before.is_empty() {
            // What the grammar skipped.
            self.feed(Token::text(before));
        }
        self.covered = self.covered.max(node.start_byte());
        if is_leaf || kind.is(Is::Verbatim) {
            self.covered = self.covered.max(node.end_byte());
            self.verbatim = (!is_leaf).then_some(self.path.len());
            self.word(text);
            return false;
        }
        if node.is_named() {
            self.feed(Token::open(node.kind_id()));
        }
        node.is_named()
    }

    fn word(&mut self, text: &[u8]) {
        let comma_counts = self.path.last().is_some_and(|step| step.kind.is(Is::CommaCounts));
        match text {
            b"," if !comma_counts => self.comma = true,
            b"," | b";" => self.separator(text),
            _ if text.trim_ascii().is_empty() => {}
            _ => self.feed(Token::text(text)),
        }
    }

    fn settle_comma(&mut self, closes: bool) {
        if std::mem::take(&mut self.comma) && !closes {
            self.separator(b",");
        }
    }

    /// Between the members of a type, it is layout to users: their order plays no part, and formatters choose it.
    fn separator(&mut self, text: &[u8]) {
        if self.attribute.is_none() && self.frames.last().is_some_and(Frame::is_open) {
            self.tokens.add(Token::text(text));
        } else {
            self.feed(Token::text(text));
        }
    }

    fn feed(&mut self, token: Token) {
        self.tokens.add(token);
        let attribute = self.ahead.as_mut().filter(|_| self.attribute.is_some()).map(|ahead| &mut ahead.tokens);
        if let Some(tokens) = attribute.or_else(|| self.frames.last_mut().and_then(Frame::tokens)) {
            tokens.add(token);
        }
    }

    fn name(&mut self, leaf: Leaf, mode: Mode, text: &'a [u8], row: usize) {
        if mode == Mode::Ignore || matches!(text, b"" | b"_" | b"Self") || text.len() > NAME_BYTES_MAX {
            return;
        }
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let name = *self.names.entry(text).or_insert(next);
        let is_new = match mode {
            Mode::Bind => true,
            Mode::Pattern => !text[0].is_ascii_uppercase(),
            Mode::Use | Mode::Member | Mode::Ignore => false,
        };
        let binds = leaf == Leaf::Both || (leaf == Leaf::Plain && is_new);
        if let Some(frame) = self.frames.last_mut().filter(|_| binds) {
            frame.bound.insert(name);
        }
        if !binds || leaf == Leaf::Both {
            let is_member = leaf != Leaf::Plain || mode == Mode::Member;
            self.uses.push(Use { name, line: u32::try_from(row).unwrap_or(u32::MAX), is_member });
        }
    }

    fn outline(mut self) -> Outline {
        self.settle_comma(false);
        let rest = self.source.get(self.covered..).unwrap_or_default().trim_ascii();
        self.tokens.add(Token::text(rest));
        let names: HashMap<u32, String> =
            self.names.iter().map(|(text, id)| (*id, String::from_utf8_lossy(text).into_owned())).collect();
        let mut uses: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for used in &self.uses {
            uses.entry(&names[&used.name]).or_default().push(used.line);
        }
        self.definitions.sort_unstable();
        Outline {
            definitions: self.definitions,
            uses: uses.into_iter().map(|(name, lines)| (name.to_owned(), lines)).collect(),
            errors: self.errors,
            tokens: self.tokens.hash(),
            comments: self.comments.hash(),
        }
    }
}

impl Step {
    fn new(kind: &'static Kind, mode: Mode, is_leaf: bool) -> Self {
        Self { kind, mode, is_leaf, is_comment: false, has_frame: false, has_mark: false }
    }
}

/// Of a definition: one word, or one of the few spellings that stand for one. Patterns that bind several are none.
fn name_of(node: &Node<'_>, text: &[u8]) -> Option<String> {
    let is_one =
        node.child_count() == 0 || matches!(node.kind(), "string" | "nested_identifier" | "computed_property_name");
    let name = one_line(text);
    let name = name.trim_matches(['"', '\'']);
    (is_one && !name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| name.to_owned())
}

fn one_line(text: &[u8]) -> String {
    let cut = &text[..text.len().min(4 * NAME_BYTES_MAX)];
    String::from_utf8_lossy(cut).split_whitespace().collect::<Vec<_>>().join(" ")
}
