//! The table of Rust. It knows node kinds alone.
//! It refuses to know trees and sources; what its words lead to is in [`crate::grammar`] and `walk`.

use crate::grammar::{Def, Is, Mode, Part, Table};

pub(crate) static TABLE: Table = Table {
    defs: &[
        Def::leaf("function_item", "function").member("method"),
        Def::leaf("function_signature_item", "function").member("method"),
        Def::open("struct_item", "struct"),
        Def::open("union_item", "union"),
        Def::open("enum_item", "enum"),
        Def::leaf("enum_variant", "variant"),
        Def::leaf("field_declaration", "field"),
        Def::leaf("const_item", "constant"),
        Def::leaf("static_item", "static"),
        Def::leaf("type_item", "type"),
        Def::leaf("associated_type", "type"),
        Def::open("trait_item", "trait"),
        Def::members("impl_item", "").container(implemented),
        Def::members("mod_item", "module"),
        Def::leaf("macro_definition", "macro"),
    ],
    fields: &[
        ("function_item", "name", Part::Name(Mode::Bind)),
        ("function_signature_item", "name", Part::Name(Mode::Bind)),
        ("struct_item", "name", Part::Name(Mode::Bind)),
        ("union_item", "name", Part::Name(Mode::Bind)),
        ("enum_item", "name", Part::Name(Mode::Bind)),
        ("enum_variant", "name", Part::Name(Mode::Bind)),
        ("field_declaration", "name", Part::Name(Mode::Ignore)),
        ("const_item", "name", Part::Name(Mode::Bind)),
        ("static_item", "name", Part::Name(Mode::Bind)),
        ("type_item", "name", Part::Name(Mode::Bind)),
        ("associated_type", "name", Part::Name(Mode::Bind)),
        ("trait_item", "name", Part::Name(Mode::Bind)),
        ("mod_item", "name", Part::Name(Mode::Bind)),
        ("macro_definition", "name", Part::Name(Mode::Bind)),
        ("function_item", "body", Part::Body),
        ("const_item", "value", Part::Body),
        ("static_item", "value", Part::Body),
        ("impl_item", "body", Part::Body),
        ("mod_item", "body", Part::Body),
        ("impl_item", "trait", Part::Container),
        ("impl_item", "type", Part::Container),
        ("let_declaration", "pattern", Part::Names(Mode::Pattern)),
        ("parameter", "pattern", Part::Names(Mode::Pattern)),
        ("parameter", "type", Part::Names(Mode::Use)),
        ("for_expression", "pattern", Part::Names(Mode::Pattern)),
        ("let_condition", "pattern", Part::Names(Mode::Pattern)),
        ("match_arm", "pattern", Part::Names(Mode::Pattern)),
        ("match_pattern", "condition", Part::Names(Mode::Use)),
        ("tuple_struct_pattern", "type", Part::Names(Mode::Use)),
        ("struct_pattern", "type", Part::Names(Mode::Use)),
        ("type_parameter", "name", Part::Names(Mode::Bind)),
        ("const_parameter", "name", Part::Names(Mode::Bind)),
    ],
    kinds: &[
        ("line_comment", &[Is::Comment]),
        ("block_comment", &[Is::Comment]),
        ("string_literal", &[Is::Verbatim]),
        ("raw_string_literal", &[Is::Verbatim]),
        ("char_literal", &[Is::Verbatim]),
        ("attribute_item", &[Is::Attribute]),
        ("macro_rule", &[Is::Body]),
        ("token_tree", &[Is::CommaCounts]),
        ("token_tree_pattern", &[Is::CommaCounts]),
        ("block", &[Is::Scope]),
        ("closure_expression", &[Is::Scope]),
        ("closure_parameters", &[Is::Names(Mode::Pattern)]),
        ("scoped_identifier", &[Is::Names(Mode::Use)]),
        ("lifetime", &[Is::Names(Mode::Ignore)]),
        ("label", &[Is::Names(Mode::Ignore)]),
    ],
    separator: "::",
};

/// `impl<T> fmt::Display for Pair<T>`: a trait with its arguments, because a type may have it several times, and the
/// plain name of the type.
fn implemented(parts: &[String]) -> String {
    match parts {
        [of] => plain(of).to_owned(),
        [which, of, ..] => format!("{which} for {}", plain(of)),
        [] => String::new(),
    }
}

fn plain(of: &str) -> &str {
    let name = of.split('<').next().unwrap_or_default();
    let last = name.rsplit("::").next().unwrap_or_default().trim();
    if last.is_empty() { of } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_implementation_is_named_after_its_type_and_trait() {
        for (parts, name) in [
            (&["Pair<T>"][..], "Pair"),
            (&["crate::a::Pair<T>"], "Pair"),
            (&["From<u8>", "a::Pair"], "From<u8> for Pair"),
            (&["<T as X>::Y"], "<T as X>::Y"),
            (&["Clone", "&[T]"], "Clone for &[T]"),
        ] {
            let parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(implemented(&parts), name);
        }
    }
}
