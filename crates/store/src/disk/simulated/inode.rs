//! The bytes of a simulated file: those that processes see, and those that survive.

use std::collections::BTreeSet;

use crate::random::Rng;

/// What reaches the disk as one, or is torn once.
const BLOCK: usize = 128;

/// A file, whatever its names are.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What processes see.
    pub(super) seen: Vec<u8>,
    /// What is on the disk, also behind the end of the file.
    disk: Vec<u8>,
    /// Size of the file after a power failure.
    durable_size: usize,
    /// The blocks that differ, by their numbers.
    dirty: BTreeSet<usize>,
}

impl Inode {
    /// A file all of whose bytes survive.
    pub(super) fn durable(content: Vec<u8>) -> Self {
        Self {
            disk: content.clone(),
            durable_size: content.len(),
            seen: content,
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        if bytes.is_empty() {
            return;
        }
        let at = usize::try_from(at).unwrap();
        let end = at + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / BLOCK..=(end - 1) / BLOCK);
    }

    pub(super) fn set_size(&mut self, size: u64) {
        let size = usize::try_from(size).unwrap();
        if size < self.seen.len() {
            self.dirty.retain(|block| block * BLOCK < size);
            // Blocks that come back later are zero, whatever is on the disk.
            let blocks = self.disk.len().div_ceil(BLOCK);
            self.dirty.extend(size / BLOCK..blocks);
        }
        self.seen.resize(size, 0);
    }

    pub(super) fn sync(&mut self) {
        for block in std::mem::take(&mut self.dirty) {
            self.write_back(block, BLOCK);
        }
        self.durable_size = self.seen.len();
        self.disk.resize(self.durable_size, 0);
    }

    /// Some blocks are written. The others are not, and no later sync writes them.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for block in std::mem::take(&mut self.dirty) {
            if rng.chance(500) {
                self.write_back(block, BLOCK);
            }
        }
    }

    /// Some blocks are written, or the size.
    pub(super) fn write_in_background(&mut self, rng: &mut Rng) {
        for block in std::mem::take(&mut self.dirty) {
            if rng.chance(500) {
                self.write_back(block, BLOCK);
            } else {
                self.dirty.insert(block);
            }
        }
        if rng.chance(500) {
            self.durable_size = self.seen.len();
        }
    }

    pub(super) fn fail_power(&mut self, rng: &mut Rng) {
        for block in std::mem::take(&mut self.dirty) {
            match rng.below(5) {
                0 | 1 => {}
                2 => self.write_back(block, rng.below(BLOCK)),
                _ => self.write_back(block, BLOCK),
            }
        }
        if self.durable_size != self.seen.len() && rng.chance(500) {
            self.durable_size = self.seen.len();
        }
        self.disk.resize(self.durable_size, 0);
        self.seen.clone_from(&self.disk);
    }

    /// Writes the first bytes of a block.
    fn write_back(&mut self, block: usize, length: usize) {
        let from = block * BLOCK;
        let to = (from + length).min(self.seen.len());
        if from < to {
            let size = self.disk.len().max(to);
            self.disk.resize(size, 0);
            self.disk[from..to].copy_from_slice(&self.seen[from..to]);
        }
    }
}
