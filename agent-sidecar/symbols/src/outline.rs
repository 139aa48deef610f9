//! What is kept of one content: its definitions with hashes of what users see and of the rest, the names it uses with
//! the lines, and how broken it is. It refuses to know languages and other contents. Made by `walk`; next: `diff`.

/// One content, in names and hashes. The hashes hold within one life of a program: keep it in memory, not on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// By container, name, kind, then hashes: where it stands in the file plays no part.
    pub definitions: Vec<Definition>,
    /// Each name that the content refers to, in order of the alphabet, with the lines (from 0) where it does, in order.
    /// Names bound in the same function (parameters, variables, type parameters) are left out.
    pub uses: Vec<(String, Vec<u32>)>,
    /// Places where the grammar had to guess.
    pub errors: u32,
    pub(crate) tokens: u64,
    pub(crate) comments: u64,
}

/// Something that other code can refer to by name. What is inside a function is part of its body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Definition {
    pub container: String,
    pub name: String,
    pub kind: &'static str,
    /// Of what users see: name, parameters, result, visibility, generics, attributes; all of a type but its methods'
    /// bodies.
    pub signature: u64,
    /// Of the rest, without comments and white space; nothing for a class, whose members are definitions themselves.
    pub body: u64,
}
