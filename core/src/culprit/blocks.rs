//! Which units must be built together, and the blocks in which they are told apart: single units as far as possible,
//! units that need one another as one block, and above [`BLOCKS_MAX`] whole groups first. It knows needs, not verdicts;
//! what is built of it is [`super::subset`]'s.

/// Explanations grow with the square of this; and a set of blocks fits a word.
pub(super) const BLOCKS_MAX: usize = 64;

/// What each unit needs, all the way down, itself included.
pub(super) struct Units {
    needs: Vec<Vec<bool>>,
}

impl Units {
    pub(super) fn new(count: usize, needs: &[Vec<usize>]) -> Self {
        let close = |unit: usize| {
            let (mut seen, mut open) = (vec![false; count], vec![unit]);
            while let Some(at) = open.pop() {
                if !std::mem::replace(&mut seen[at], true) {
                    open.extend(needs.get(at).into_iter().flatten().filter(|need| **need < count));
                }
            }
            seen
        };
        Self { needs: (0..count).map(close).collect() }
    }

    /// With all that they need.
    pub(super) fn closed(&self, units: &[usize]) -> Vec<usize> {
        (0..self.needs.len()).filter(|unit| units.iter().any(|of| self.needs[*of][*unit])).collect()
    }

    /// These, without some and all that need them.
    pub(super) fn without(&self, units: &[usize], some: &[usize]) -> Vec<usize> {
        units.iter().copied().filter(|unit| !some.iter().any(|gone| self.needs[*unit][*gone])).collect()
    }

    /// Neither can be built without the other.
    fn are_one(&self, a: usize, b: usize) -> bool {
        self.needs[a][b] && self.needs[b][a]
    }
}

/// What is told apart.
pub(super) struct Blocks {
    blocks: Vec<Vec<usize>>,
    /// Of each block the blocks that it needs, itself included.
    needs: Vec<u64>,
    /// The blocks of each group.
    groups: Vec<u64>,
    is_fine: bool,
}

impl Blocks {
    /// Of these units. `group_of` may be empty: then parts of equal size stand for groups.
    pub(super) fn new(units: &Units, suspects: &[usize], group_of: &[usize]) -> Self {
        let group = |unit: usize| group_of.get(unit).copied().unwrap_or(usize::MAX);
        let single = singles(units, suspects);
        let is_fine = single.len() <= BLOCKS_MAX;
        let blocks = if is_fine { single } else { divide(suspects, &group) };
        let direct = |block: &Vec<usize>| {
            let closed = units.closed(block);
            let is_in = |b: &usize| blocks[*b].iter().any(|unit| closed.contains(unit));
            (0..blocks.len()).filter(is_in).fold(0, |mask, b| mask | 1 << b)
        };
        let mut needs: Vec<u64> = blocks.iter().map(direct).collect();
        // Half a block brings the other half in, with what that needs.
        for _ in 0..blocks.len() {
            needs = needs.iter().map(|mask| bits(*mask).fold(*mask, |m, b| m | needs[b])).collect();
        }
        let mut named: Vec<usize> = blocks.iter().map(|block| group(block[0])).collect();
        named.sort_unstable();
        named.dedup();
        let of = |name: &usize| (0..blocks.len()).filter(|b| group(blocks[*b][0]) == *name).fold(0, |m, b| m | 1 << b);
        let groups = named.iter().map(of).collect();
        Self { blocks, needs, groups, is_fine }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// No block can be divided.
    pub(super) fn is_fine(&self) -> bool {
        self.is_fine
    }

    pub(super) fn groups(&self) -> &[u64] {
        &self.groups
    }

    pub(super) fn units_of(&self, mask: u64) -> Vec<usize> {
        let mut units: Vec<usize> = bits(mask).flat_map(|block| self.blocks[block].iter().copied()).collect();
        units.sort_unstable();
        units
    }

    /// The units to build for these blocks.
    pub(super) fn build(&self, units: &Units, mask: u64) -> Vec<usize> {
        units.closed(&self.units_of(mask))
    }

    /// Which blocks are in a tree; none where one is half in.
    pub(super) fn mask(&self, with: &[usize]) -> Option<u64> {
        let mut mask = 0;
        for (at, block) in self.blocks.iter().enumerate() {
            match block.iter().filter(|unit| with.binary_search(unit).is_ok()).count() {
                0 => {}
                n if n == block.len() => mask |= 1 << at,
                _ => return None,
            }
        }
        Some(mask)
    }

    /// Neither needs the other.
    pub(super) fn are_apart(&self, a: usize, b: usize) -> bool {
        self.needs[a] >> b & 1 == 0 && self.needs[b] >> a & 1 == 0
    }

    pub(super) fn closed(&self, mask: u64) -> u64 {
        bits(mask).fold(mask, |m, block| m | self.needs[block])
    }

    pub(super) fn without(&self, mask: u64, gone: u64) -> u64 {
        bits(mask).filter(|block| self.needs[*block] & gone == 0).fold(0, |m, block| m | 1 << block)
    }

    pub(super) fn all(&self) -> u64 {
        (0..self.len()).fold(0, |mask, block| mask | 1 << block)
    }
}

/// Each unit a block, those that need one another in one.
fn singles(units: &Units, suspects: &[usize]) -> Vec<Vec<usize>> {
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for unit in suspects {
        match blocks.iter_mut().find(|block| units.are_one(block[0], *unit)) {
            Some(block) => block.push(*unit),
            None => blocks.push(vec![*unit]),
        }
    }
    blocks
}

/// By groups; if these do not divide them into few, into parts of equal size.
fn divide(suspects: &[usize], group: &impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let mut ordered = suspects.to_vec();
    ordered.sort_by_key(|unit| (group(*unit), *unit));
    let by_group: Vec<Vec<usize>> = ordered.chunk_by(|a, b| group(*a) == group(*b)).map(<[usize]>::to_vec).collect();
    match by_group.len() {
        2..=BLOCKS_MAX => by_group,
        _ => ordered.chunks(ordered.len().div_ceil(BLOCKS_MAX)).map(<[usize]>::to_vec).collect(),
    }
}

pub(super) fn bits(mask: u64) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            at
        })
    })
}
