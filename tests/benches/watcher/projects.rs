//! Three small projects, in Rust, Python and JavaScript, each with a check of its own, and pairs of edits that git merges without a
//! word: some break the check together, some only look as if they did.

use crate::world::{TEXT, Tree};

pub(crate) struct Project {
    pub(crate) name: &'static str,
    pub(crate) check: &'static str,
    pub(crate) base: Tree,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) sides: [Vec<Edit>; 2],
}

pub(crate) enum Edit {
    Replace(&'static str, &'static str, &'static str),
    Append(&'static str, &'static str),
    New(&'static str, &'static str),
}

use Edit::{Append, New, Replace};

impl Edit {
    pub(crate) fn make(&self, tree: &mut Tree) {
        let text = |tree: &Tree, path: &str| String::from_utf8(tree[path].1.clone()).expect("text");
        let (path, new) = match self {
            Replace(path, from, to) => {
                let old = text(tree, path);
                assert!(old.contains(from), "{from:?} is in {path}");
                (path, old.replace(from, to))
            }
            Append(path, more) => (path, text(tree, path) + more),
            New(path, whole) => (path, (*whole).to_owned()),
        };
        tree.insert((*path).to_owned(), (TEXT, new.into_bytes()));
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), (TEXT, text.as_bytes().to_vec()))).collect()
}

fn case(name: &'static str, a: Vec<Edit>, b: Vec<Edit>) -> Case {
    Case { name, sides: [a, b] }
}

pub(crate) fn all() -> [Project; 3] {
    [rust(), python(), javascript()]
}

const RUST_PRICE: &str = "//! Prices.\n\npub fn net(cents: u32) -> u32 {\n    cents\n}\n\npub const ONE: u32 = 1;\npub const TEN: u32 = 10;\n\
    \npub fn gross(cents: u32) -> u32 {\n    let tax = cents / 5;\n    cents + tax\n}\n\npub const HUNDRED: u32 = 100;\n\n\
    pub fn rounded(cents: u32) -> u32 {\n    let rest = cents % TEN;\n    let down = cents - rest;\n    let half = TEN / 2;\n\
    \x20   if rest < half { down } else { down + TEN }\n}\n\nfn helper() -> u32 {\n    ONE\n}\n\npub fn least() -> u32 {\n    helper()\n}\n";
const RUST_CART: &str = "//! Carts.\n\npub struct Line {\n    pub cents: u32,\n}\n\npub fn line() -> Line {\n    Line { cents: crate::price::net(4) }\n}\n\n\
    pub fn sum() -> u32 {\n    crate::price::gross(3)\n}\n\npub enum Way {\n    Post,\n    Shop,\n}\n\npub fn days(way: &Way) -> u32 {\n    match way {\n\
    \x20       Way::Post => 3,\n        Way::Shop => 0,\n    }\n}\n\npub trait Item {\n    fn cents(&self) -> u32;\n}\n";

fn rust() -> Project {
    let base = tree(&[
        (".gitignore", "target\nCargo.lock\n"),
        ("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n"),
        ("src/lib.rs", "//! A shop.\n\npub mod cart;\npub mod price;\npub mod report;\npub mod tax;\n"),
        ("src/price.rs", RUST_PRICE),
        ("src/cart.rs", RUST_CART),
        ("src/report.rs", "//! Reports.\n\npub fn title() -> &'static str {\n    \"report\"\n}\n"),
        ("src/tax.rs", "//! Taxes.\n\npub fn rate() -> u32 {\n    19\n}\n"),
    ]);
    let uses = |text: &'static str| vec![Append("src/report.rs", text)];
    let cases = vec![
        case(
            "renamed function",
            vec![Replace("src/price.rs", "fn net(", "fn net_of("), Replace("src/cart.rs", "::net(", "::net_of(")],
            uses("\npub fn first() -> u32 {\n    crate::price::net(1)\n}\n"),
        ),
        case(
            "changed signature",
            vec![
                Replace("src/price.rs", "gross(cents: u32)", "gross(cents: u32, tax: u32)"),
                Replace("src/price.rs", "    let tax = cents / 5;\n", ""),
                Replace("src/cart.rs", "gross(3)", "gross(3, 1)"),
            ],
            uses("\npub fn second() -> u32 {\n    crate::price::gross(1)\n}\n"),
        ),
        case(
            "removed function",
            vec![
                Replace("src/price.rs", "pub fn least() -> u32 {\n    helper()\n}\n", "pub use self::helper as _h;\n"),
                { Replace("src/price.rs", "\nfn helper", "\npub fn helper") },
            ],
            uses("\npub fn third() -> u32 {\n    crate::price::least()\n}\n"),
        ),
        case(
            "both added",
            vec![Replace("src/price.rs", "//! Prices.\n", "//! Prices.\n\npub fn total() -> u32 {\n    1\n}\n")],
            vec![Append("src/price.rs", "\npub fn total() -> u32 {\n    2\n}\n")],
        ),
        case(
            "new field",
            vec![
                Replace("src/cart.rs", "    pub cents: u32,\n}", "    pub cents: u32,\n    pub count: u32,\n}"),
                Replace("src/cart.rs", "net(4) }", "net(4), count: 1 }"),
            ],
            uses("\npub fn one() -> crate::cart::Line {\n    crate::cart::Line { cents: 1 }\n}\n"),
        ),
        case(
            "new variant",
            vec![
                Replace("src/cart.rs", "    Shop,\n", "    Shop,\n    Drone,\n"),
                Replace("src/cart.rs", "Way::Shop => 0,\n", "Way::Shop => 0,\n        Way::Drone => 1,\n"),
            ],
            uses(
                "\npub fn name(way: &crate::cart::Way) -> u8 {\n    use crate::cart::Way;\n    match way {\n\
                 \x20       Way::Post => 1,\n        Way::Shop => 2,\n    }\n}\n",
            ),
        ),
        case(
            "new trait method",
            vec![Replace("src/cart.rs", "-> u32;\n}", "-> u32;\n    fn name(&self) -> String;\n}")],
            uses(
                "\npub struct Book;\n\nimpl crate::cart::Item for Book {\n    fn cents(&self) -> u32 {\n        1\n    }\n}\n",
            ),
        ),
        case(
            "control: new body, new use",
            vec![Replace("src/price.rs", "    cents\n}", "    cents + 0\n}")],
            uses("\npub fn fourth() -> u32 {\n    crate::price::net(1)\n}\n"),
        ),
        case(
            "control: the same name elsewhere",
            vec![Replace("src/price.rs", "helper()", "helped()")],
            vec![Append("src/tax.rs", "\nfn helper() -> u32 {\n    2\n}\n\npub fn more() -> u32 {\n    helper()\n}\n")],
        ),
        case(
            "control: two places of one function",
            vec![Replace("src/price.rs", "    let rest = cents % TEN;", "    let rest = cents % 10;")],
            vec![Replace("src/price.rs", "{ down } else { down + TEN }", "{ down } else { down + 10 }")],
        ),
        case(
            "control: nothing in common",
            vec![Append("src/tax.rs", "\npub fn low() -> u32 {\n    7\n}\n")],
            uses("\npub fn end() -> u32 {\n    0\n}\n"),
        ),
    ];
    Project { name: "Rust", check: "cargo check --offline --all-targets", base, cases }
}

const PYTHON_CHECK: &str = "import importlib, pathlib\nfor file in sorted(pathlib.Path(\"shop\").glob(\"*.py\")):\n\
    \x20   importlib.import_module(\"shop.\" + file.stem)\n";
const PYTHON_PRICE: &str = "def net(cents):\n    return cents\n\n\nONE = 1\nTEN = 10\n\n\ndef gross(cents):\n    return cents + cents // 5\n\n\n\
    HUNDRED = 100\n\n\ndef least():\n    return ONE\n";

fn python() -> Project {
    let base = tree(&[
        (".gitignore", "__pycache__\n"),
        ("check.py", PYTHON_CHECK),
        ("shop/__init__.py", ""),
        ("shop/price.py", PYTHON_PRICE),
        ("shop/cart.py", "from shop.price import gross, net\n\nSUM = gross(3) + net(1)\n"),
        ("shop/report.py", "TITLE = \"report\"\n"),
    ]);
    let cases = vec![
        case(
            "renamed function",
            vec![
                Replace("shop/price.py", "def net(", "def net_of("),
                Replace("shop/cart.py", "gross, net\n", "gross, net_of\n"),
                Replace("shop/cart.py", "net(1)", "net_of(1)"),
            ],
            vec![New("shop/first.py", "from shop.price import net\n\nFIRST = net(1)\n")],
        ),
        case(
            "changed signature",
            vec![
                Replace("shop/price.py", "def gross(cents):", "def gross(cents, tax):"),
                Replace("shop/price.py", "cents // 5", "tax"),
                Replace("shop/cart.py", "gross(3)", "gross(3, 1)"),
            ],
            vec![Append("shop/report.py", "\nfrom shop.price import gross\n\nSECOND = gross(1)\n")],
        ),
        case(
            "removed function",
            vec![Replace("shop/price.py", "\n\ndef least():\n    return ONE\n", "")],
            vec![Append("shop/report.py", "\nfrom shop import price\n\nLEAST = price.least()\n")],
        ),
        case(
            "both added",
            vec![Replace("shop/price.py", "def net(", "def total():\n    return 1\n\n\ndef net(")],
            vec![Append("shop/price.py", "\n\ndef total():\n    return 2\n")],
        ),
        case(
            "control: new body, new use",
            vec![Replace("shop/price.py", "return cents\n", "return cents + 0\n")],
            vec![New("shop/fourth.py", "from shop.price import net\n\nFOURTH = net(1)\n")],
        ),
    ];
    Project { name: "Python", check: "python3 check.py", base, cases }
}

const JS_CHECK: &str = "import { readdirSync } from \"node:fs\";\nfor (const name of readdirSync(\"src\").sort()) {\n\
    \x20 await import(`./src/${name}`);\n}\n";
const JS_PRICE: &str = "export function net(cents) {\n  return cents;\n}\n\nexport const ONE = 1;\nexport const TEN = 10;\n\n\
    export function gross(cents) {\n  return cents + 1;\n}\n\nexport const HUNDRED = 100;\n\nexport function least() {\n  return ONE;\n}\n";

fn javascript() -> Project {
    let base = tree(&[
        ("package.json", "{\n  \"name\": \"shop\",\n  \"type\": \"module\"\n}\n"),
        ("check.js", JS_CHECK),
        ("src/price.js", JS_PRICE),
        ("src/cart.js", "import { gross, net } from \"./price.js\";\n\nexport const sum = gross(3) + net(1);\n"),
        ("src/report.js", "export const title = \"report\";\n"),
    ]);
    let cases = vec![
        case(
            "renamed function",
            vec![
                Replace("src/price.js", "function net(", "function netOf("),
                Replace("src/cart.js", "gross, net }", "gross, netOf }"),
                Replace("src/cart.js", "+ net(1)", "+ netOf(1)"),
            ],
            vec![New("src/first.js", "import { net } from \"./price.js\";\n\nexport const first = net(1);\n")],
        ),
        case(
            "changed signature",
            vec![
                Replace(
                    "src/price.js",
                    "gross(cents) {\n  return cents + 1;",
                    "gross({ cents, tax }) {\n  return cents + tax.rate;",
                ),
                Replace("src/cart.js", "gross(3)", "gross({ cents: 3, tax: { rate: 1 } })"),
            ],
            vec![New("src/second.js", "import { gross } from \"./price.js\";\n\nexport const second = gross(1);\n")],
        ),
        case(
            "removed function",
            vec![Replace("src/price.js", "\nexport function least() {\n  return ONE;\n}\n", "")],
            vec![New("src/third.js", "import { least } from \"./price.js\";\n\nexport const third = least();\n")],
        ),
        case(
            "both added",
            vec![Replace(
                "src/price.js",
                "export function net(",
                "export function total() {\n  return 1;\n}\n\nexport function net(",
            )],
            vec![Append("src/price.js", "\nexport function total() {\n  return 2;\n}\n")],
        ),
        case(
            "control: new body, new use",
            vec![Replace("src/price.js", "  return cents;\n", "  return cents + 0;\n")],
            vec![New("src/fourth.js", "import { net } from \"./price.js\";\n\nexport const fourth = net(1);\n")],
        ),
    ];
    Project { name: "JavaScript", check: "node check.js", base, cases }
}
