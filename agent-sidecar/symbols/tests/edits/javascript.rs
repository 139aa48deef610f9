//! JavaScript, with the ways in which it gives names to what others load.
//! It refuses to know how edits are found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "lib/cart.js";
const SOURCE: &str = r#"const { price } = require("./money");

function Cart(items) {
  this.items = items;
}

Cart.prototype.total = function (start) {
  return this.items.reduce((sum, item) => sum + price(item), start);
};

exports.open = (path) => new Cart(read(path));

class Queue {
  #size = 0;
  push(item) {
    this.#size += 1;
    return item;
  }
}

let count = 0, last;

module.exports.Queue = Queue;
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            ("rename", "function Cart(items)", "function Basket(items)", "+/Basket:function -/Cart:function"),
            ("parameter", "function (start)", "function (start, tax)", "~Cart/total:function use Cart prototype"),
            ("body", "price(item), start", "price(item) * 2, start", ".Cart/total:function use items price reduce"),
            (
                "exported",
                "exports.open = (path)",
                "exports.open = (path, how)",
                "~/open:function use Cart exports read",
            ),
            ("method", "push(item)", "push(item, at)", "~Queue/push:method"),
            ("method's body", "+= 1", "+= 2", ".Queue/push:method use #size"),
            ("field", "#size = 0", "#size = 1", ".Queue/#size:field"),
            ("added", "class Queue {", "class Queue {\n  pop() {}", "+Queue/pop:method"),
            ("removed", "\nmodule.exports.Queue = Queue;\n", "", "-/Queue:property"),
            ("variable", ", last;", ", last = price;", "~/last:variable use price"),
            ("new use", "return item;", "return log(item);", ".Queue/push:method use log"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved = SOURCE.replace("let count = 0, last;\n", "") + "let count = 0, last;\n";
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "");
}

#[test]
fn comments_and_white_space_are_not_code() {
    let commented = SOURCE.replace("    return item;", "    // gives it back\n    return item;");
    assert_eq!(say(&compared(PATH, SOURCE, &commented)), "");
    is_layout(PATH, SOURCE, &SOURCE.replace("  ", "\t").replace("function (start)", "function(start)"));
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "    this.#size += 1");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
