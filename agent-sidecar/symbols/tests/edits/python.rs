//! Each kind of edit of Python, and what it is told as.
//! It refuses to know how that is found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "shop/cart.py";
const SOURCE: &str = r#"import os.path
from .money import Price, zero as none

LIMIT: int = 10


def total(items: list[Price], start=none, *, tax: float = 0.1) -> Price:
    result = start
    for item in items:
        result += item * tax  # each
    return result


@cached
def load(path):
    def inner(text):
        return text.strip()

    with open(path) as file:
        return [inner(line) for line in file if line]


class Cart(Base):
    """A cart."""

    items: list[Price]
    shared = None

    @property
    def size(self):
        return len(self.items)

    async def put(self, item):
        if self.size < LIMIT:
            self.items.append(item)
            self.note(f"put  {item!r}\n")

    class Meta:
        order = "name"


if os.path.exists("x"):
    def extra():
        pass
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            ("rename", "def size(self)", "def length(self)", "+Cart/length:method -Cart/size:method"),
            ("parameter", "start=none, *", "start=none, stop=None, *", "~/total:function use Price float list none"),
            ("default", "float = 0.1", "float = 0.2", "~/total:function use Price float list none"),
            ("result", "-> Price:", "-> int:", "~/total:function use Price float int list none"),
            ("decorator", "@cached", "@cached(1)", "~/load:function use cached"),
            ("async", "async def put", "def put", "~Cart/put:method"),
            ("body", "item * tax", "item + tax", "./total:function"),
            ("inner function", "text.strip()", "text.lower()", "./load:function use lower"),
            ("constant", "= 10", "= 20", "./LIMIT:variable use int"),
            ("constant's type", "LIMIT: int", "LIMIT: float", "~/LIMIT:variable use float"),
            ("field", "items: list[Price]\n", "items: set[Price]\n", "~Cart/items:field use Price set"),
            ("field's value", "shared = None", "shared = none", ".Cart/shared:field use none"),
            ("super class", "Cart(Base)", "Cart(Other)", "~/Cart:class use Other"),
            ("member's member", "order = \"name\"", "order = \"size\"", ".Cart.Meta/order:field"),
            ("added", "LIMIT: int", "def more(x: Price): pass\nLIMIT: int", "+/more:function use Price"),
            ("removed", "    def extra():\n        pass\n", "    pass\n", "-/extra:function"),
            ("text", "put  {", "put {", ".Cart/put:method use note"),
            ("comment", "# each", "# every one", ""),
            ("import", "import Price,", "import Price, max_price,", "use Price max_price money zero"),
            ("new use", "return result", "return rounded(result)", "./total:function use rounded"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved = SOURCE.replace("LIMIT: int = 10\n", "") + "\nLIMIT: int = 10\n";
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "use int", "its line is an edited one");
}

#[test]
fn white_space_is_layout_unless_it_carries_the_shape() {
    let wide = SOURCE.replace("    ", "        ").replace("start=none, *, tax", "start = none,\n  *,\n  tax");
    is_layout(PATH, SOURCE, &wide);
    let out = SOURCE.replace("            self.note(", "        self.note(");
    assert_eq!(say(&compared(PATH, SOURCE, &out)), ".Cart/put:method use note");
}

#[test]
fn a_comma_that_makes_a_tuple_counts() {
    let (old, new) = ("def f(x):\n    return x[1]\n", "def f(x):\n    return x[1,]\n");
    assert_eq!(say(&compared(PATH, old, new)), "./f:function");
    let (old, new) = ("def f(x):\n    return (x)\n", "def f(x):\n    return (x,)\n");
    assert_eq!(say(&compared(PATH, old, new)), "./f:function");
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "list[Price], start");
    is_half_written(PATH, SOURCE, " {item!r}");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
