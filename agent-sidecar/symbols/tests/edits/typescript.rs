//! Each kind of edit of TypeScript and TSX, and what it is told as.
//! It refuses to know how that is found; how a case is written is in the file above.

use super::{comes_and_goes, compared, is_half_written, is_layout, say, told};

const PATH: &str = "src/cart.ts";
const SOURCE: &str = r#"import { Price, zero as none } from "./money";
import Store from "./store";

/** How many. */
export const LIMIT: number = 10;

export function total<T extends Price>(items: T[], start = none): Price {
  let sum = start;
  for (const item of items) {
    sum = sum.plus(item); // each
  }
  return sum;
}

export const first = async (items: Price[]): Promise<Price> => {
  const [head] = items;
  return head;
};

@sealed
export class Cart<T> extends Base implements Open {
  private items: T[] = [];
  static shared = new Cart();

  constructor(private store: Store) {
    super();
  }

  get size(): number {
    return this.items.length;
  }

  put = (item: T) => {
    this.items.push(item);
  };

  describe(): string {
    return `a  ${this.size} b`;
  }
}

export interface Open {
  name: string;
  close?(at: Date): void;
}

type Key = string | number;

enum State {
  Open,
  Paid = 2,
}

namespace Inner.Deep {
  export function helper(x: Key) {
    return String(x);
  }
}

declare function load(path: string): Open;
declare function load(path: number): Open;

export default function main() {
  const local = (text: string) => text.trim();
  return local("x");
}
"#;

#[test]
fn edits_are_told_as_what_they_are() {
    told(
        PATH,
        SOURCE,
        &[
            ("rename", "describe()", "explain()", "-Cart/describe:method +Cart/explain:method"),
            ("parameter", "start = none", "start = none, tax = 1", "~/total:function use Price none"),
            ("type parameter", "T extends Price>", "T extends Price | null>", "~/total:function use Price none"),
            ("result", "helper(x: Key)", "helper(x: Key): string", "~Inner.Deep/helper:function use Key"),
            ("export", "export const LIMIT", "const LIMIT", "~/LIMIT:variable"),
            ("default export", "export default function", "export function", "~/main:function"),
            (
                "arrow's parameter",
                "async (items: Price[])",
                "async (items: Price[], n: number)",
                "~/first:function use Price Promise",
            ),
            ("arrow's body", "return head;", "return head ?? none;", "./first:function use none"),
            ("constant's value", "= 10;", "= 20;", "./LIMIT:variable"),
            ("method's body", "this.items.length", "this.items.size", ".Cart/size:method use items size"),
            ("field's value", "T[] = [];", "T[] = load();", ".Cart/items:field use load"),
            ("field that is a function", "put = (item: T)", "put = (item: T, n = 1)", "~Cart/put:method"),
            ("visibility", "private items", "public items", "~Cart/items:field"),
            (
                "constructor",
                "private store: Store",
                "private store: Store, n = 1",
                "~Cart/constructor:method use Store",
            ),
            ("super class", "extends Base", "extends Other", "~/Cart:class use Open Other"),
            ("decorator", "@sealed", "@frozen", "~/Cart:class use frozen"),
            (
                "interface",
                "  name: string;",
                "  name: string;\n  id: Key;",
                "~/Open:interface +Open/id:property use Key",
            ),
            ("optional", "close?(at", "close(at", "~/Open:interface ~Open/close:method use Date"),
            ("type", "string | number;", "string;", "~/Key:type"),
            ("enum", "  Open,\n", "  Open,\n  Lost,\n", "~/State:enum"),
            (
                "overload added",
                "declare function load(path: number): Open;",
                "declare function load(path: number): Open;\ndeclare function load(): Open;",
                "+/load:function use Open",
            ),
            ("overload changed", "load(path: number)", "load(path: Key)", "~/load:function use Key Open"),
            ("removed", "type Key = string | number;\n", "", "-/Key:type"),
            ("text", "a  ${", "a ${", ".Cart/describe:method use size"),
            ("comment", "// each", "// every one", ""),
            ("import", "{ Price, zero", "{ Price, max, zero", "use Price max zero"),
            ("inner function", "text.trim()", "text.trimEnd()", "./main:function use trimEnd"),
        ],
    );
}

#[test]
fn a_definition_that_moves_is_the_same() {
    let moved = SOURCE.replace("type Key = string | number;\n", "") + "type Key = string | number;\n";
    assert_eq!(say(&compared(PATH, SOURCE, &moved)), "");
}

#[test]
fn tests_in_functions_define_nothing() {
    let tests =
        "describe('cart', () => {\n  const one = 1;\n  it('puts', () => { expect(total([one])).toBe(1); });\n});\n";
    let outline = rr_symbols::outline(&PATH.into(), tests.as_bytes()).expect("a known language");
    assert_eq!(outline.definitions, []);
    let names: Vec<_> = outline.uses.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["describe", "expect", "it", "toBe", "total"]);
}

#[test]
fn a_component_is_a_function_and_uses_what_it_shows() {
    let source = "export const App = ({ user }: Props) => (\n  <Page title=\"x\" onOpen={() => open(user)}>Hello <b>{user.name}</b></Page>\n);\n";
    told(
        "src/app.tsx",
        source,
        &[
            ("property", "{ user }", "{ user, at }", "~/App:function use Props at user"),
            ("text", "Hello ", "Hi ", "./App:function use Page b name onOpen open title"),
            (
                "element",
                "<b>{user.name}</b>",
                "<Name of={user} />",
                "./App:function use Name Page of onOpen open title",
            ),
        ],
    );
}

#[test]
fn white_space_is_layout() {
    let broken = SOURCE
        .replace(
            "total<T extends Price>(items: T[], start = none)",
            "total<T extends Price>(\n\titems: T[],\n\tstart = none,\n)",
        )
        .replace("  return sum;", "      return sum;");
    is_layout(PATH, SOURCE, &broken);
}

#[test]
fn a_line_break_with_a_meaning_is_no_layout() {
    let new = SOURCE.replace("return sum;", "return\n  sum;");
    assert_eq!(say(&compared(PATH, SOURCE, &new)), "./total:function");
}

#[test]
fn a_half_written_file_is_worse_than_before() {
    is_half_written(PATH, SOURCE, "    sum = sum.plus");
    is_half_written(PATH, SOURCE, "    return this.items.length");
}

#[test]
fn definitions_come_and_go_with_their_file() {
    comes_and_goes(PATH, SOURCE);
}
