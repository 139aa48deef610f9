//! `rrctl config`: what this machine's programs go by.

use rr_runtime::config::Loaded;
use serde_json::{Value, json};

use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Show this machine's configuration: every key with its value and where that was said
///
/// The text can be used as config.yaml. Passwords are in files of their own and are not shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(hand: &Hand) -> Result<(), Failure> {
    let loaded = Loaded::load(None);
    let mut loaded = loaded.map_err(|e| Failure::at("read this machine's config.yaml", &e).of_kind(Kind::Usage))?;
    let row = |row: rr_runtime::config::Row| json!({ "key": row.key, "value": row.value, "origin": row.origin });
    let rows: Vec<Value> = loaded.rows().into_iter().map(row).collect();
    hand.answer(&json!({ "file": loaded.file(), "keys": rows }), || loaded.dump())
}
