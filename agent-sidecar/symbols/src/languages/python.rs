//! The table of Python. It knows node kinds alone.
//! It refuses to know trees and sources; what its words lead to is in [`crate::grammar`] and `walk`.

use crate::grammar::{Def, Is, Mode, Part, Table};

pub(crate) static TABLE: Table = Table {
    defs: &[
        Def::leaf("function_definition", "function").member("method"),
        Def::members("class_definition", "class"),
        Def::leaf("assignment", "variable").member("field"),
    ],
    fields: &[
        ("function_definition", "name", Part::Name(Mode::Bind)),
        ("class_definition", "name", Part::Name(Mode::Bind)),
        ("assignment", "left", Part::Name(Mode::Bind)),
        ("function_definition", "body", Part::Body),
        ("class_definition", "body", Part::Body),
        ("assignment", "right", Part::Body),
        ("typed_parameter", "type", Part::Names(Mode::Use)),
        ("default_parameter", "value", Part::Names(Mode::Use)),
        ("typed_default_parameter", "type", Part::Names(Mode::Use)),
        ("typed_default_parameter", "value", Part::Names(Mode::Use)),
        ("for_statement", "left", Part::Names(Mode::Bind)),
        ("for_in_clause", "left", Part::Names(Mode::Bind)),
        ("named_expression", "name", Part::Names(Mode::Bind)),
        ("aliased_import", "alias", Part::Names(Mode::Ignore)),
        ("attribute", "attribute", Part::Names(Mode::Member)),
        ("keyword_argument", "name", Part::Names(Mode::Ignore)),
    ],
    kinds: &[
        ("comment", &[Is::Comment]),
        ("string", &[Is::Verbatim]),
        ("decorator", &[Is::Attribute]),
        ("parameters", &[Is::Names(Mode::Bind)]),
        ("lambda_parameters", &[Is::Names(Mode::Bind)]),
        ("as_pattern_target", &[Is::Names(Mode::Bind)]),
        ("attribute", &[Is::Names(Mode::Use)]),
        ("subscript", &[Is::Names(Mode::Use), Is::CommaCounts]),
        ("call", &[Is::Names(Mode::Use)]),
        ("lambda", &[Is::Scope]),
        ("list_comprehension", &[Is::Scope]),
        ("set_comprehension", &[Is::Scope]),
        ("dictionary_comprehension", &[Is::Scope]),
        ("generator_expression", &[Is::Scope]),
    ],
    separator: ".",
};
