//! The table of Go. It knows node kinds alone.
//! It refuses to know trees and sources; what its words lead to is in [`crate::grammar`] and `walk`.

use crate::grammar::{Def, Is, Mode, Part, Table};

pub(crate) static TABLE: Table = Table {
    defs: &[
        Def::leaf("function_declaration", "function"),
        Def::leaf("method_declaration", "method").container(received),
        Def::open("type_spec", "type"),
        Def::leaf("type_alias", "type"),
        Def::leaf("field_declaration", "field"),
        Def::leaf("method_elem", "method"),
        Def::leaf("const_spec", "constant"),
        Def::leaf("var_spec", "variable"),
    ],
    fields: &[
        ("function_declaration", "name", Part::Name(Mode::Bind)),
        ("method_declaration", "name", Part::Name(Mode::Ignore)),
        ("type_spec", "name", Part::Name(Mode::Bind)),
        ("type_alias", "name", Part::Name(Mode::Bind)),
        ("field_declaration", "name", Part::Name(Mode::Ignore)),
        ("method_elem", "name", Part::Name(Mode::Ignore)),
        ("const_spec", "name", Part::Name(Mode::Bind)),
        ("var_spec", "name", Part::Name(Mode::Bind)),
        ("method_declaration", "receiver", Part::Container),
        ("function_declaration", "body", Part::Body),
        ("method_declaration", "body", Part::Body),
        ("const_spec", "value", Part::Body),
        ("var_spec", "value", Part::Body),
        ("parameter_declaration", "name", Part::Names(Mode::Bind)),
        ("variadic_parameter_declaration", "name", Part::Names(Mode::Bind)),
        ("type_parameter_declaration", "name", Part::Names(Mode::Bind)),
        ("short_var_declaration", "left", Part::Names(Mode::Bind)),
        ("range_clause", "left", Part::Names(Mode::Bind)),
        ("receive_statement", "left", Part::Names(Mode::Bind)),
        ("type_switch_statement", "alias", Part::Names(Mode::Bind)),
        ("import_spec", "name", Part::Names(Mode::Ignore)),
    ],
    kinds: &[
        ("comment", &[Is::Comment]),
        ("interpreted_string_literal", &[Is::Verbatim]),
        ("raw_string_literal", &[Is::Verbatim]),
        ("rune_literal", &[Is::Verbatim]),
        ("func_literal", &[Is::Scope]),
        ("selector_expression", &[Is::Names(Mode::Use)]),
        ("index_expression", &[Is::Names(Mode::Use)]),
        ("package_clause", &[Is::Names(Mode::Ignore)]),
    ],
    separator: ".",
};

/// `(s *Stack[T])`: the plain name of the type.
fn received(parts: &[String]) -> String {
    let receiver = parts.first().map_or("", String::as_str);
    let plain = receiver.trim_matches(['(', ')', ' ', ',']).split('[').next().unwrap_or_default();
    plain.rsplit([' ', '*']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_in_the_type_that_receives_it() {
        for receiver in ["(s *Stack[K, V])", "(s Stack)", "(*Stack)", "(Stack[T])", "( s * Stack )"] {
            assert_eq!(received(&[receiver.to_owned()]), "Stack", "{receiver}");
        }
    }
}
