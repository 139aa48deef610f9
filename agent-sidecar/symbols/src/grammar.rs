//! What a language's tables say, by the numbers that its grammar gives to node kinds and fields, so that the walk looks
//! nothing up by name. The words of the tables are here; the tables are in [`crate::languages`]. Next: `walk`.

use std::num::NonZeroU16;

/// A node kind that defines something.
pub(crate) struct Def {
    pub(crate) node: &'static str,
    /// As the language calls it. Empty: it only holds definitions.
    pub(crate) kind: &'static str,
    /// The same as a member of a type.
    pub(crate) member: &'static str,
    pub(crate) shape: Shape,
    /// How far below the definition its name is.
    pub(crate) name_depth: usize,
    /// From the parts marked [`Part::Container`]: what it is defined in or, of what only holds definitions, what they
    /// are in.
    pub(crate) container: Option<fn(&[String]) -> String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// What is defined inside is nobody else's to see.
    Leaf,
    /// Its definitions are its own business: a class gains a method and is the same class.
    Members,
    /// What its definitions show, it shows: a struct gains a field and is another struct.
    Open,
}

impl Def {
    pub(crate) const fn leaf(node: &'static str, kind: &'static str) -> Self {
        Self { node, kind, member: kind, shape: Shape::Leaf, name_depth: 1, container: None }
    }

    pub(crate) const fn members(node: &'static str, kind: &'static str) -> Self {
        Self { shape: Shape::Members, ..Self::leaf(node, kind) }
    }

    pub(crate) const fn open(node: &'static str, kind: &'static str) -> Self {
        Self { shape: Shape::Open, ..Self::leaf(node, kind) }
    }

    pub(crate) const fn member(self, member: &'static str) -> Self {
        Self { member, ..self }
    }

    pub(crate) const fn name_depth(self, name_depth: usize) -> Self {
        Self { name_depth, ..self }
    }

    pub(crate) const fn container(self, container: fn(&[String]) -> String) -> Self {
        Self { container: Some(container), ..self }
    }
}

/// What the names below a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Used here, unless the same function binds them.
    Use,
    /// Used here, whatever a function binds: members of something.
    Member,
    /// Bound here.
    Bind,
    /// Bound here, but for those with a capital letter: patterns also name constants and variants.
    Pattern,
    /// Neither.
    Ignore,
}

/// What a field of a node kind is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its name, if it is a definition to be told of; these names otherwise.
    Name(Mode),
    /// Not seen by users.
    Body,
    /// See [`Def::container`].
    Container,
    Names(Mode),
}

/// What a node kind is, apart from a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Comment,
    /// Its white space counts.
    Verbatim,
    /// Its names are these.
    Names(Mode),
    /// Belongs to the definition after it.
    Attribute,
    /// Its own words (`export`) belong to the definition in it.
    Prefix,
    /// Like [`Part::Body`], whatever its field.
    Body,
    /// Definitions inside are nobody else's to see, and it is no definition itself.
    Scope,
    /// A comma before its closing bracket has a meaning.
    CommaCounts,
    /// A function without a name: the variable that has it as its value is the function.
    Function,
}

/// One language in words.
pub(crate) struct Table {
    pub(crate) defs: &'static [Def],
    pub(crate) fields: &'static [(&'static str, &'static str, Part)],
    pub(crate) kinds: &'static [(&'static str, &'static [Is])],
    /// Between the parts of a container's name.
    pub(crate) separator: &'static str,
}

/// What a leaf of this kind is a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Plain,
    Member,
    /// Uses a member and binds its name.
    Both,
}

const LEAVES: [(&str, Leaf); 9] = [
    ("identifier", Leaf::Plain),
    ("type_identifier", Leaf::Plain),
    ("shorthand_property_identifier", Leaf::Plain),
    ("package_identifier", Leaf::Plain),
    ("field_identifier", Leaf::Member),
    ("property_identifier", Leaf::Member),
    ("private_property_identifier", Leaf::Member),
    ("shorthand_field_identifier", Leaf::Both),
    ("shorthand_property_identifier_pattern", Leaf::Both),
];

/// All that the walk wants to know of one node kind.
#[derive(Default)]
pub(crate) struct Kind {
    pub(crate) def: Option<&'static Def>,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) names: Option<Mode>,
    is: &'static [Is],
    fields: Vec<(NonZeroU16, Part)>,
}

impl Kind {
    pub(crate) fn is(&self, what: Is) -> bool {
        self.is.contains(&what)
    }

    pub(crate) fn part(&self, field: Option<NonZeroU16>) -> Option<Part> {
        let field = field?;
        self.fields.iter().find(|(id, _)| *id == field).map(|(_, part)| *part)
    }
}

/// One language in numbers.
pub(crate) struct Grammar {
    pub(crate) language: tree_sitter::Language,
    pub(crate) table: &'static Table,
    kinds: Vec<Kind>,
    other: Kind,
}

impl Grammar {
    pub(crate) fn new(language: tree_sitter::Language, table: &'static Table) -> Self {
        let count = u16::try_from(language.node_kind_count()).unwrap_or(u16::MAX);
        let kind = |id| match language.node_kind_for_id(id) {
            Some(name) if language.node_kind_is_named(id) => Self::kind(&language, table, name),
            _ => Kind::default(),
        };
        let kinds = (0..count).map(kind).collect();
        Self { language, table, kinds, other: Kind::default() }
    }

    fn kind(language: &tree_sitter::Language, table: &'static Table, name: &str) -> Kind {
        let is = table.kinds.iter().find(|(kind, _)| *kind == name).map_or(&[][..], |(_, is)| is);
        let fields = table.fields.iter().filter(|(kind, _, _)| *kind == name);
        Kind {
            def: table.defs.iter().find(|def| def.node == name),
            leaf: LEAVES.iter().find(|(kind, _)| *kind == name).map(|(_, leaf)| *leaf),
            names: is.iter().find_map(|is| if let Is::Names(mode) = is { Some(*mode) } else { None }),
            is,
            fields: fields.filter_map(|(_, field, part)| Some((language.field_id_for_name(field)?, *part))).collect(),
        }
    }

    /// Of a kind's number. What the grammar could not read has a number beyond its own.
    pub(crate) fn kind_of(&self, id: u16) -> &Kind {
        self.kinds.get(usize::from(id)).unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use crate::languages::Language;

    /// A word that no grammar knows would never be found, and nobody would notice.
    #[test]
    fn every_word_of_a_table_is_known_to_a_grammar_of_its_language() {
        for group in Language::ALL.chunk_by(|a, b| std::ptr::eq(a.grammar().table, b.grammar().table)) {
            let knows_kind = |kind: &str| group.iter().any(|l| l.grammar().language.id_for_node_kind(kind, true) != 0);
            let knows_field = |field| group.iter().any(|l| l.grammar().language.field_id_for_name(field).is_some());
            let table = group[0].grammar().table;
            let of_fields = table.fields.iter().map(|(kind, _, _)| *kind);
            let kinds = table.kinds.iter().map(|(kind, _)| *kind).chain(of_fields);
            for kind in kinds.chain(table.defs.iter().map(|def| def.node)) {
                assert!(knows_kind(kind), "{kind} in {group:?}");
            }
            for (_, field, _) in table.fields {
                assert!(knows_field(field), "{field} in {group:?}");
            }
        }
    }
}
