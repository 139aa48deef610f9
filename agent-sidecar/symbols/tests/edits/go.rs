//! Each kind of edit of Go, and what it is told as.
//! It refuses to know how that is found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "shop/cart.go";
const SOURCE: &str = r#"package shop

import (
	"fmt"
	m "shop/money"
)

// Limit is how many.
const Limit = 10

var first, last int

type Cart[T any] struct {
	Items, Gone []T `json:"items"`
	*Base
	limit int
}

type Total interface {
	Sum(start int) (m.Price, error)
	fmt.Stringer
}

type Alias = Base

func New(limit int, names ...string) (*Cart[int], error) {
	cart := &Cart[int]{limit: limit}
	for i, name := range names {
		cart.note(i, name) // each
	}
	return cart, nil
}

func (c *Cart[T]) Put(item T) bool {
	if len(c.Items) < Limit {
		c.Items = append(c.Items, item)
		return true
	}
	return false
}

func (c Cart[T]) note(at int, name string) {
	fmt.Println("put  ", at, name)
}
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            ("rename", ") Put(item", ") Add(item", "+Cart/Add:method -Cart/Put:method use Cart T bool"),
            ("parameter", "New(limit int, ", "New(limit uint8, ", "~/New:function use Cart error int string uint8"),
            ("result", "(item T) bool", "(item T) error", "~Cart/Put:method use Cart T error"),
            ("receiver", "(c Cart[T]) note", "(c *Cart[T]) note", "~Cart/note:method use Cart T int string"),
            ("body", "return false", "return true", ".Cart/Put:method"),
            ("constant", "= 10", "= 20", "./Limit:constant"),
            ("two variables", "first, last int", "first, last uint", "~/first:variable ~/last:variable use uint"),
            ("field", "limit int\n", "limit uint\n", "~/Cart:type ~Cart/limit:field use uint"),
            ("two fields", "[]T `json", "[]*T `json", "~/Cart:type ~Cart/Gone:field ~Cart/Items:field"),
            ("embedded", "*Base", "*Other", "~/Cart:type use Other"),
            ("interface", "Sum(start int)", "Sum()", "~/Total:type ~Total/Sum:method use Price error m"),
            ("added", "type Alias", "func more(p m.Price) {}\n\ntype Alias", "+/more:function use Price m"),
            ("removed", "type Alias = Base\n", "", "-/Alias:type"),
            ("text", "\"put  \"", "\"put \"", ".Cart/note:method use Println fmt"),
            ("comment", "// each", "// every one", ""),
            ("new use", "return cart, nil", "return checked(cart), nil", "./New:function use checked"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved = SOURCE.replace("type Alias = Base\n", "") + "\ntype Alias = Base\n";
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "use Base", "its line is an edited one");
}

#[test]
fn white_space_is_layout() {
    let broken = SOURCE.replace("New(limit int, names ...string)", "New(\n\tlimit int,\n\tnames ...string,\n)");
    is_layout(PATH, SOURCE, &broken.replace('\t', "    "));
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "\t\tc.Items = append");
    is_half_written(PATH, SOURCE, "[]T `json");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
