//! The project of the show, and who does what in it: a crate without dependencies, eight pieces of work of three agents, and one
//! agent that is in the middle of something all along. One piece breaks what others build on. Which place it takes among the
//! commits comes from the seed. Next: `team` does the work.

use crate::demo::roles::Dice;

/// The check that the whole team agreed on. It takes a second longer than it must, so that there is something to see: on a real
/// project it takes minutes, and commits pile up behind it in the same way.
pub(super) const CHECK: &str = "types";
const CONFIG: &str =
    "defaults: off\nhealth:\n  checks:\n    - { name: types, run: \"sleep 1 && cargo check --offline --quiet\" }\n";
const CARGO: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n";
const LIB: &str = "pub mod basket;\npub mod cart;\npub mod invoice;\npub mod ledger;\npub mod price;\npub mod receipt;\n\
                   pub mod shipping;\npub mod stock;\npub mod wishlist;\n";
pub(super) const PRICE: &str = "/// In cents.\npub fn price(item: u32) -> u32 {\n    item * 2\n}\n";
const CART: &str = "pub fn total(items: &[u32]) -> u32 {\n    items.iter().map(|i| crate::price::price(*i)).sum()\n}\n";
const INVOICE: &str = "pub fn line(item: u32) -> String {\n    format!(\"{}\", crate::price::price(item))\n}\n";
const STOCK: &str = "pub fn left(item: u32) -> u32 {\n    item\n}\n";

/// What is in the repository before the first agent starts.
pub(super) const FILES: [(&str, &str); 13] = [
    ("railroad.yaml", CONFIG),
    (".gitignore", "target\nCargo.lock\n"),
    ("Cargo.toml", CARGO),
    ("src/lib.rs", LIB),
    ("src/price.rs", PRICE),
    ("src/cart.rs", CART),
    ("src/invoice.rs", INVOICE),
    ("src/stock.rs", STOCK),
    ("src/basket.rs", "//! The basket.\n"),
    ("src/ledger.rs", "//! The ledger.\n"),
    ("src/receipt.rs", "//! Receipts.\n"),
    ("src/shipping.rs", "//! Shipping.\n"),
    ("src/wishlist.rs", "//! The wishlist.\n"),
];

/// Each with what it is there for.
pub(super) const AGENTS: [(&str, &str); 4] = [
    ("ann", "build the cart"),
    ("ben", "let prices know the tax"),
    ("cleo", "write the invoices"),
    ("dan", "count the stock"),
];
/// The one with work that is not committed while all of this happens.
pub(super) const DREAMER: &str = "dan";

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) agent: &'static str,
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    /// The whole file as it will be.
    pub(super) text: String,
}

/// All pieces in the order of their commits, and which of them breaks the build.
pub(super) fn pieces(dice: &mut Dice) -> (Vec<Piece>, usize) {
    let mut pieces = vec![
        piece("ann", "src/cart.rs", "cart: count", "pub fn count(items: &[u32]) -> usize {\n    items.len()\n}\n"),
        piece(
            "cleo",
            "src/invoice.rs",
            "invoice: number",
            "pub fn number(of: u32) -> String {\n    format!(\"R{of}\")\n}\n",
        ),
        piece("ben", "src/shipping.rs", "shipping: by weight", "pub fn cost(grams: u32) -> u32 {\n    grams / 10\n}\n"),
        piece("ann", "src/basket.rs", "basket: empty", "pub fn empty() -> Vec<u32> {\n    Vec::new()\n}\n"),
        piece("cleo", "src/receipt.rs", "receipt: head", "pub fn head() -> &'static str {\n    \"Receipt\"\n}\n"),
        piece("ann", "src/wishlist.rs", "wishlist: limit", "pub const LIMIT: usize = 50;\n"),
        piece(
            "cleo",
            "src/ledger.rs",
            "ledger: balance",
            "pub fn balance(of: &[i64]) -> i64 {\n    of.iter().sum()\n}\n",
        ),
    ];
    // In the middle: something to halve on both sides.
    let at = 3 + dice.pick(3);
    pieces.insert(at, culprit());
    (pieces, at)
}

/// Right by itself; the callers of what it changes are others' files.
fn culprit() -> Piece {
    let text = PRICE.replace("item: u32", "item: u32, tax: u32").replace("item * 2", "item * 2 + tax");
    Piece { agent: "ben", path: "src/price.rs", title: "price: with tax", text }
}

fn piece(agent: &'static str, path: &'static str, title: &'static str, more: &str) -> Piece {
    Piece { agent, path, title, text: format!("{}\n{more}", before(path)) }
}

/// A file as it was before the first agent started.
pub(super) fn before(path: &str) -> &'static str {
    FILES.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text)
}

/// What is begun and not committed: a file of the project as it is being changed, and one that git does not know.
pub(super) fn unfinished() -> [(&'static str, String); 2] {
    let notes = "half a thought: who counts what is reserved?\n".repeat(8);
    [("src/stock.rs", format!("{STOCK}\npub fn reserved(item: u32) -> u32 {{\n")), ("notes.md", notes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_culprit_is_in_the_middle_and_the_same_seed_puts_it_in_the_same_place() {
        let places: Vec<usize> = (0..40).map(|seed| pieces(&mut Dice::new(seed)).1).collect();
        assert_eq!(places, (0..40).map(|seed| pieces(&mut Dice::new(seed)).1).collect::<Vec<_>>());
        assert!(places.iter().all(|at| (3..=5).contains(at)), "{places:?}");
        assert!((3..=5).all(|at| places.contains(&at)), "{places:?}");
    }

    #[test]
    fn each_piece_has_a_file_of_its_own_that_it_changes_and_none_is_among_the_unfinished() {
        let (pieces, at) = pieces(&mut Dice::new(1));
        let paths: std::collections::BTreeSet<_> = pieces.iter().map(|p| p.path).collect();
        assert_eq!((paths.len(), pieces.len()), (8, 8));
        assert_eq!(pieces[at], culprit());
        for piece in &pieces {
            assert_ne!(piece.text, before(piece.path), "{}", piece.path);
            assert!(unfinished().iter().all(|(path, _)| *path != piece.path));
            assert!(AGENTS.iter().any(|(name, _)| *name == piece.agent && *name != DREAMER));
        }
    }
}
