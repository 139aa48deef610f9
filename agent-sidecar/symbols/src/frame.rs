//! One definition, or function without a name, while the walk is inside it: what is known of its name, its hashes so
//! far, the names it binds. It refuses to know nodes. Next: it becomes a [`Definition`].

use std::collections::HashSet;

use crate::grammar::{Def, Shape};
use crate::outline::Definition;
use crate::tokens::{Token, Tokens};

/// Longer names are not kept: no person wrote them.
pub(crate) const NAME_BYTES_MAX: usize = 200;
/// What a definition is in, cut at this: a few long names.
const CONTAINER_BYTES_MAX: usize = 400;

pub(crate) struct Frame {
    /// Nothing for a function without a name.
    def: Option<&'static Def>,
    depth: usize,
    kind: &'static str,
    names: Vec<String>,
    parts: Vec<String>,
    signature: Tokens,
    body: Tokens,
    /// Of the signatures of its members, in whatever order.
    members: u64,
    /// How deep the node is that users do not see, while inside it.
    hidden: Option<usize>,
    /// By their numbers in the walk.
    pub(crate) bound: HashSet<u32>,
    /// The first use in it, in the walk's list.
    pub(crate) uses_from: usize,
}

impl Frame {
    pub(crate) fn new(def: Option<&'static Def>, depth: usize, outer: Option<&Self>, uses_from: usize) -> Self {
        let kind = def.map_or("", |def| if outer.is_some_and(Self::is_type) { def.member } else { def.kind });
        Self {
            def,
            depth,
            kind,
            names: Vec::new(),
            parts: Vec::new(),
            signature: Tokens::default(),
            body: Tokens::default(),
            members: 0,
            hidden: None,
            bound: HashSet::new(),
            uses_from,
        }
    }

    fn is_type(&self) -> bool {
        !matches!(self.kind, "module" | "namespace")
    }

    fn shape(&self) -> Option<Shape> {
        self.def.map(|def| def.shape)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.shape() == Some(Shape::Open)
    }

    /// Whether a definition here is one of its members.
    pub(crate) fn takes_definitions(&self) -> bool {
        match self.shape() {
            Some(Shape::Open) => true,
            Some(Shape::Members) => self.hidden.is_some(),
            Some(Shape::Leaf) | None => false,
        }
    }

    /// Where tokens go that stand in it and in none of its members.
    pub(crate) fn tokens(&mut self) -> Option<&mut Tokens> {
        match (self.shape()?, self.hidden) {
            (Shape::Members, Some(_)) => None,
            (Shape::Leaf, Some(_)) => Some(&mut self.body),
            (_, _) => Some(&mut self.signature),
        }
    }

    pub(crate) fn wants_name(&self, depth: usize) -> bool {
        self.hidden.is_none() && self.def.is_some_and(|def| depth == self.depth + def.name_depth)
    }

    pub(crate) fn named(&mut self, name: String) {
        self.names.push(name);
    }

    pub(crate) fn wants_part(&self, depth: usize) -> bool {
        self.hidden.is_none()
            && self.def.is_some_and(|def| def.container.is_some() && depth == self.depth + def.name_depth)
    }

    pub(crate) fn part(&mut self, part: String) {
        self.parts.push(part);
    }

    /// What users do not see begins at this node, if the node stands right below.
    pub(crate) fn hide(&mut self, depth: usize) -> bool {
        let begins = self.hidden.is_none() && self.def.is_some() && !self.is_open() && depth <= self.depth + 2;
        if begins {
            self.hidden = Some(depth);
        }
        begins
    }

    pub(crate) fn show(&mut self, depth: usize) {
        self.hidden = self.hidden.filter(|hidden| *hidden != depth);
    }

    /// Its value is a function without a name: it is that function.
    pub(crate) fn becomes_function(&mut self, depth: usize) {
        if self.hidden.is_none() && depth == self.depth + 1 {
            self.kind = if self.kind == "field" { "method" } else { "function" };
        }
    }

    /// What its members are in.
    fn label(&self) -> Option<String> {
        match self.def {
            Some(Def { kind: "", container: Some(container), .. }) => Some(container(&self.parts)),
            _ => self.names.first().cloned(),
        }
    }

    /// What it is in.
    fn container(&self, outer: &[Self], separator: &str) -> String {
        let own = self.def.and_then(|def| def.container).map(|container| container(&self.parts));
        let labels = outer.iter().filter_map(Self::label).chain(own.filter(|own| !own.is_empty()));
        let mut path = labels.collect::<Vec<_>>().join(separator);
        path.truncate(path.floor_char_boundary(CONTAINER_BYTES_MAX));
        path
    }

    /// The walk leaves it.
    pub(crate) fn end(mut self, outer: &mut [Self], separator: &str, found: &mut Vec<Definition>) {
        let Some(def) = self.def else { return };
        self.signature.add(Token::number(self.members));
        let signature = self.signature.hash();
        if !def.kind.is_empty() && !self.names.is_empty() {
            let container = self.container(outer, separator);
            let (kind, body) = (self.kind, self.body.hash());
            let define = |name| Definition { container: container.clone(), name, kind, signature, body };
            found.extend(self.names.into_iter().map(define));
        }
        if let Some(holder) = outer.last_mut().filter(|holder| holder.is_open()) {
            holder.members = holder.members.wrapping_add(signature);
        }
    }
}
