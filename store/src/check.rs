//! Which requests no engine may pass on (G2, G11): the limits, and no key written twice in one list.
//! It knows no state. An engine asks it before anything else, so that all engines refuse the same requests.

use std::collections::BTreeSet;

use crate::contract::{
    Compare, KEY_BYTES_MAX, Keys, Op, StoreError, Subject, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, VALUE_BYTES_MAX,
};

pub(crate) fn check_txn(txn: &Txn) -> Result<(), StoreError> {
    for (name, count) in
        [("compares", txn.compares.len()), ("operations", txn.success.len()), ("operations", txn.failure.len())]
    {
        if count > TXN_OPS_MAX {
            return Err(StoreError::Invalid(format!("{count} {name}, at most {TXN_OPS_MAX} are allowed")));
        }
    }
    txn.compares.iter().try_for_each(check_compare)?;
    check_list(&txn.success)?;
    check_list(&txn.failure)?;
    let bytes = txn_bytes(txn);
    if bytes > TXN_BYTES_MAX {
        return Err(StoreError::Invalid(format!("transaction of {bytes} bytes, at most {TXN_BYTES_MAX} are allowed")));
    }
    Ok(())
}

pub(crate) fn check_keys(keys: &Keys) -> Result<(), StoreError> {
    match keys {
        Keys::One(key) => check_key(key),
        Keys::Prefix(prefix) if prefix.is_empty() => Ok(()),
        Keys::Prefix(prefix) => check_key(prefix),
    }
}

/// Keys and values of the whole request; also what it weighs in an engine's queue.
pub(crate) fn txn_bytes(txn: &Txn) -> usize {
    let compares = txn.compares.iter().map(|compare| {
        let value = if let Subject::Value(value) = &compare.subject { value.len() } else { 0 };
        keys_bytes(&compare.keys) + value
    });
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Get(keys) | Op::Delete(keys) => keys_bytes(keys),
        Op::Put { key, value, .. } => key.len() + value.len(),
    });
    compares.chain(ops).sum()
}

fn keys_bytes(keys: &Keys) -> usize {
    match keys {
        Keys::One(text) | Keys::Prefix(text) => text.len(),
    }
}

fn check_key(key: &str) -> Result<(), StoreError> {
    match key.len() {
        0 => Err(StoreError::Invalid("the key is empty".into())),
        1..=KEY_BYTES_MAX => Ok(()),
        len => Err(StoreError::Invalid(format!("key of {len} bytes, at most {KEY_BYTES_MAX} are allowed"))),
    }
}

fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        let len = value.len();
        return Err(StoreError::Invalid(format!("value of {len} bytes, at most {VALUE_BYTES_MAX} are allowed")));
    }
    Ok(())
}

fn check_compare(compare: &Compare) -> Result<(), StoreError> {
    check_keys(&compare.keys)?;
    if let Subject::Value(value) = &compare.subject {
        check_value(value)?;
    }
    Ok(())
}

fn check_list(ops: &[Op]) -> Result<(), StoreError> {
    let mut puts = BTreeSet::new();
    for op in ops {
        match op {
            Op::Get(keys) | Op::Delete(keys) => check_keys(keys)?,
            Op::Put { key, value, .. } => {
                check_key(key)?;
                check_value(value)?;
                if !puts.insert(key.as_str()) {
                    return Err(StoreError::Invalid(format!("key {key:?} is put twice in one list")));
                }
            }
        }
    }
    for op in ops {
        let Op::Delete(keys) = op else { continue };
        if let Some(key) = puts.iter().find(|key| keys.contains(key)) {
            return Err(StoreError::Invalid(format!("key {key:?} is put and deleted in one list")));
        }
    }
    Ok(())
}
