//! Each kind of edit of Java, and what it is told as.
//! It refuses to know how that is found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "src/main/java/shop/Cart.java";
const SOURCE: &str = r#"package shop;

import java.util.List;
import static shop.Money.zero;

/** A cart. */
@Stored(name = "cart")
public class Cart<T extends Item> extends Base implements Total {
    private static final int LIMIT = 10, ROOM[] = {1};
    private List<T> items;

    static {
        load();
    }

    public Cart(List<T> items) {
        this.items = items;
    }

    public boolean put(final T item) throws Full {
        if (items.size() < LIMIT) {
            items.add(item); // at the end
            return true;
        }
        return false;
    }

    public boolean put(T item, int at) {
        for (var one : items) {
            items.forEach(x -> x.note(at));
        }
        return false;
    }

    class Entry {
        void note(int at) {
            System.out.println("at  " + at);
        }
    }
}

interface Total {
    int ZERO = 0;

    Price total(int start);

    default boolean isFree() {
        return total(0).equals(zero());
    }
}

enum State {
    OPEN(1),
    PAID(2);

    private final int code;

    State(int code) {
        this.code = code;
    }
}

record Price(long cents, String currency) {
    Price {
        check(cents);
    }
}
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            (
                "rename",
                "boolean isFree()",
                "boolean free()",
                "~/Total:interface +Total/free:method -Total/isFree:method",
            ),
            ("one of two overloads", "put(final T item) throws Full", "put(final T item)", "~Cart/put:method"),
            ("overload added", "    class Entry {", "    void put() {}\n\n    class Entry {", "+Cart/put:method"),
            ("visibility", "private List<T> items;", "List<T> items;", "~Cart/items:field use List"),
            (
                "constructor",
                "public Cart(List<T> items)",
                "public Cart(List<T> items, int n)",
                "~Cart/Cart:constructor use List",
            ),
            ("body", "return true;", "return false;", ".Cart/put:method"),
            ("two constants", "int LIMIT", "long LIMIT", "~Cart/LIMIT:field ~Cart/ROOM:field"),
            ("constant's value", "LIMIT = 10", "LIMIT = 20", ".Cart/LIMIT:field .Cart/ROOM:field"),
            ("super class", "extends Base", "extends Other", "~/Cart:class use Item Other Total"),
            ("annotation", "\"cart\"", "\"carts\"", "~/Cart:class use Stored name"),
            ("member's member", "void note(int at)", "void note(long at)", "~Cart.Entry/note:method"),
            ("interface", "Price total(int start)", "Price total()", "~/Total:interface ~Total/total:method use Price"),
            ("default body", "equals(zero())", "equals(null)", ".Total/isFree:method use equals total"),
            ("enum", "    OPEN(1),", "    OPEN(1),\n    LOST(3),", "+State/LOST:constant"),
            ("record", "long cents,", "int cents,", "~/Price:record use String"),
            ("removed", "    State(int code) {\n        this.code = code;\n    }\n", "", "-State/State:constructor"),
            ("text", "\"at  \"", "\"at \"", ".Cart.Entry/note:method use System out println"),
            ("comment", "// at the end", "// in front", ""),
            ("new use", "check(cents);", "check(cents);\n        log(currency);", ".Price/Price:constructor use log"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved =
        SOURCE.replace("    int ZERO = 0;\n", "").replace("zero());\n    }\n", "zero());\n    }\n    int ZERO = 0;\n");
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "");
}

#[test]
fn white_space_is_layout() {
    let broken =
        SOURCE.replace("put(T item, int at)", "put(\n            T item,\n            int at)").replace("    ", "\t");
    is_layout(PATH, SOURCE, &broken);
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "            items.add(item)");
    is_half_written(PATH, SOURCE, "int start);");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
