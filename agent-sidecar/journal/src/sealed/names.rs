//! The table of names of one segment: each name once, in the order of its first use.

use std::collections::HashMap;

use crate::codec::{self, NamesIn, NamesOut, NotAnEntry};

#[derive(Default)]
pub(super) struct NamesWritten {
    numbers: HashMap<Box<[u8]>, u64>,
    table: Vec<u8>,
}

impl NamesWritten {
    pub(super) fn table(&self) -> &[u8] {
        &self.table
    }
}

impl NamesOut for NamesWritten {
    fn put(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let next = self.numbers.len() as u64;
        let number = self.numbers.get(name).copied().unwrap_or_else(|| {
            self.numbers.insert(name.into(), next);
            codec::put_bytes(&mut self.table, name);
            next
        });
        codec::put_number(out, number);
    }
}

pub(super) struct NamesRead {
    table: Vec<u8>,
    /// Begin and end of each in the table.
    places: Vec<(usize, usize)>,
}

impl NamesRead {
    pub(super) fn new(table: Vec<u8>) -> Result<Self, NotAnEntry> {
        let mut places = Vec::new();
        let mut rest = table.as_slice();
        while !rest.is_empty() {
            let name = codec::get_bytes(&mut rest)?;
            let end = table.len() - rest.len();
            places.push((end - name.len(), end));
        }
        Ok(Self { table, places })
    }
}

impl NamesIn for NamesRead {
    fn get<'a>(&'a self, bytes: &mut &'a [u8]) -> Result<&'a [u8], NotAnEntry> {
        let number = usize::try_from(codec::get_number(bytes)?).unwrap_or(usize::MAX);
        let (from, to) = self.places.get(number).ok_or(NotAnEntry("a name that is not in the table"))?;
        Ok(&self.table[*from..*to])
    }
}
