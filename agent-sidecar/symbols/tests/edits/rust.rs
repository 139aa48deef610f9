//! Each kind of edit of Rust, and what it is told as.
//! It refuses to know how that is found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "src/cart.rs";
const SOURCE: &str = r#"//! A cart.
use crate::money::Price;

/// How many.
#[derive(Clone)]
pub struct Cart<T> {
    pub items: Vec<T>,
    limit: usize,
}

pub enum State {
    Open,
    Paid(Price),
}

const LIMIT: usize = 10;

impl<T: Clone> Cart<T> {
    /// Puts one in.
    pub fn put(&mut self, item: T) -> bool {
        let room = self.items.len() < LIMIT;
        if room {
            self.items.push(item); // at the end
        }
        room
    }

    fn first(&self) -> Option<&T> {
        self.items.first()
    }
}

impl From<u8> for Cart<u8> {
    fn from(one: u8) -> Self {
        Self { items: vec![one], limit: 1 }
    }
}

impl From<u16> for Cart<u8> {
    fn from(one: u16) -> Self {
        Self { items: Vec::new(), limit: usize::from(one) }
    }
}

trait Total {
    fn total(&self) -> Price;
    fn is_free(&self) -> bool {
        self.total() == Price::zero()
    }
}

macro_rules! cart {
    ($($x:expr),*) => { Cart { items: vec![$($x),*], limit: 9 } };
}

mod inner {
    pub fn helper(text: &str) -> String {
        fn local() -> &'static str {
            "a b"
        }
        format!("{text}{}", local())
    }
}
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            ("rename", "fn first(&self)", "fn head(&self)", "-Cart/first:method +Cart/head:method use Option"),
            ("parameter", "item: T)", "item: T, at: usize)", "~Cart/put:method"),
            ("result", "-> Option<&T>", "-> Result<&T, Gone>", "~Cart/first:method use Gone Result"),
            ("visibility", "    fn first", "    pub(crate) fn first", "~Cart/first:method use Option"),
            ("attribute", "    fn first", "    #[inline]\n    fn first", "~Cart/first:method use inline"),
            ("body", "self.items.first()", "self.items.iter().next()", ".Cart/first:method use items iter next"),
            ("constant's value", "= 10;", "= 20;", "./LIMIT:constant"),
            ("added", "const LIMIT", "fn more(p: Price) {}\nconst LIMIT", "+/more:function use Price"),
            ("removed", "const LIMIT: usize = 10;\n", "", "-/LIMIT:constant"),
            (
                "field added",
                "    limit: usize,",
                "    limit: usize,\n    owner: Owner,",
                "~/Cart:struct +Cart/owner:field use Owner",
            ),
            ("field's type", "limit: usize,\n}", "limit: u64,\n}", "~/Cart:struct ~Cart/limit:field"),
            (
                "fields in another order",
                "    pub items: Vec<T>,\n    limit: usize,\n",
                "    limit: usize,\n    pub items: Vec<T>,\n",
                "",
            ),
            ("variant", "    Open,", "    Open,\n    Lost { at: u8 },", "~/State:enum +State/Lost:variant"),
            ("derive", "#[derive(Clone)]", "#[derive(Clone, Debug)]", "~/Cart:struct use Clone Debug derive"),
            (
                "one of two implementations",
                "from(one: u16) -> Self",
                "from(one: u16) -> Cart<u8>",
                "~From<u16>_for_Cart/from:method use Cart",
            ),
            (
                "trait's method",
                "fn total(&self) -> Price;",
                "fn total(&self) -> u64;",
                "~/Total:trait ~Total/total:method",
            ),
            ("default body", "== Price::zero()", "== Price::ZERO", ".Total/is_free:method use Price ZERO total"),
            ("macro's rules", "limit: 9", "limit: 8", "./cart:macro use Cart items limit vec"),
            ("module's function", "helper(text: &str)", "helper(text: &[u8])", "~inner/helper:function use String"),
            ("text", "\"a b\"", "\"a  b\"", ".inner/helper:function"),
            ("comment", "// at the end", "// in front", ""),
            ("doc comment", "/// Puts one in.", "/// Puts one in,\n    /// if there is room.", ""),
            ("new use", "room\n    }", "log::note(room);\n        room\n    }", ".Cart/put:method use log note"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved = SOURCE.replace("const LIMIT: usize = 10;\n", "") + "\nconst LIMIT: usize = 10;\n";
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "");
}

#[test]
fn a_name_bound_in_the_function_is_no_use() {
    let new = SOURCE.replace(
        "        self.items.first()",
        "        let total = self.items.len();\n        for price in 0..total { dbg!(price); }\n        match total { MAX => None, other => at(other) }",
    );
    assert_eq!(say(&compared(PATH, SOURCE, &new)), ".Cart/first:method use MAX None at dbg items len");
}

#[test]
fn white_space_is_layout() {
    let broken = SOURCE
        .replace("pub fn put(&mut self, item: T)", "pub fn put(\n    &mut self,\n    item: T,\n)")
        .replace("    ", "\t");
    is_layout(PATH, SOURCE, &broken);
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "        if room {");
    is_half_written(PATH, SOURCE, "item: T) -> bool");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
