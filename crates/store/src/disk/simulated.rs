//! A disk that loses, tears and refuses what a real one may. What it does follows from a seed and
//! the order of calls.
//!
//! Each file has the bytes that processes see and those that survive a power failure. What is
//! between the two is lost in any subset of blocks, and one block in its middle; so are names that
//! were created, changed or removed since their directory was synced. A sync that fails leaves
//! what it was to write in an unknown state, and the next one does not write it: as Linux does.

mod inode;
mod names;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, io, path::Path, sync::Arc};

use parking_lot::{Condvar, Mutex};

use self::{
    inode::Inode,
    names::{Change, Names},
};
use super::{Directory, Disk, DiskFile, LockGuard, Step};
use crate::{Error, Result, random::Rng};

/// How often calls fail, in 1/1000.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// Calls that change something fail with EIO, syncs above all.
    pub(crate) io: u32,
    /// Calls that need space fail with ENOSPC.
    pub(crate) full: u32,
    /// Reads fail with EIO.
    pub(crate) read: u32,
    /// Reads and writes do a part of what they are asked for.
    pub(crate) short: u32,
    /// The system writes something before it is asked to.
    pub(crate) background: u32,
}

impl Faults {
    /// None, but for what every disk does.
    pub(crate) const NONE: Self = Self {
        io: 0,
        full: 0,
        read: 0,
        short: 0,
        background: 30,
    };
}

/// What is wrong with the program: a test of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The step is not there.
    Without(Step),
    /// The first step comes after the second one.
    After(Step, Step),
    /// A sync that failed is repeated, as if that helped.
    RepeatedSyncs,
}

/// What a single call does, instead of what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Single {
    Io,
    Full,
    Panic,
}

/// A call of a [`Step`].
#[derive(Debug, Clone)]
enum Call {
    Write(usize, Vec<u8>, u64),
    SetSize(usize, u64),
    SyncFile(usize),
    Rename(String, String),
    Remove(String),
    Link(String, String),
    SyncDirectory(Option<String>),
}

#[derive(Debug)]
struct State {
    rng: Rng,
    faults: Faults,
    mutation: Option<Mutation>,
    /// The names that processes see.
    names: Names,
    /// The names that survive a power failure.
    durable: Names,
    changes: Vec<Change>,
    inodes: Vec<Inode>,
    /// Number of calls so far.
    calls: u64,
    crash_at: Option<u64>,
    is_crashed: bool,
    single: Option<(u64, Single)>,
    deferred: Option<(Step, Call)>,
    is_locked: bool,
    /// The steps so far, if they are wanted.
    steps: Option<Vec<Step>>,
    /// Syncs of frames wait until this is false.
    holds_frames: bool,
    /// A sync of a frame waits.
    is_waiting: bool,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Simulated {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").finish_non_exhaustive()
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            faults: Faults::NONE,
            mutation: None,
            names: Names::default(),
            durable: Names::default(),
            changes: Vec::new(),
            inodes: Vec::new(),
            calls: 0,
            crash_at: None,
            is_crashed: false,
            single: None,
            deferred: None,
            is_locked: false,
            steps: None,
            holds_frames: false,
            is_waiting: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
        }
    }

    pub(crate) fn mutate(&self, mutation: Option<Mutation>) {
        self.state.lock().mutation = mutation;
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Number of calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// From this call on, all fail: the process is dead.
    pub(crate) fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.state.lock().is_crashed
    }

    /// The call of this number does something else.
    pub(crate) fn set_single(&self, single: Option<(u64, Single)>) {
        self.state.lock().single = single;
    }

    /// Lets syncs of frames wait, or go on.
    pub(crate) fn hold_frames(&self, hold: bool) {
        self.state.lock().holds_frames = hold;
        self.changed.notify_all();
    }

    /// Waits until a sync of a frame waits.
    pub(crate) fn wait_for_frame(&self) {
        let mut state = self.state.lock();
        while !state.is_waiting {
            self.changed.wait(&mut state);
        }
    }

    /// Keeps the steps from now on.
    pub(crate) fn record(&self) {
        self.state.lock().steps = Some(Vec::new());
    }

    /// The steps since [`Simulated::record`].
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.state.lock().steps.clone().unwrap_or_default()
    }

    /// The process is killed, and another one can start: all that was written can be read.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock();
        state.is_crashed = false;
        state.crash_at = None;
        state.deferred = None;
        state.is_locked = false;
    }

    /// The power fails: what was not synced is lost, in any part.
    pub(crate) fn fail_power(&self) {
        self.kill();
        self.state.lock().fail_power();
    }

    /// The names and contents of the files.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        let files = state.names.files.iter();
        files
            .map(|(name, inode)| (name.clone(), state.inodes[*inode].seen.clone()))
            .collect()
    }

    /// Puts a file in place, durable.
    pub(crate) fn put_file(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode::durable(content));
        for names in 0..2 {
            let names = match names {
                0 => &mut state.names,
                _ => &mut state.durable,
            };
            names.exists = true;
            names.files.insert(name.to_owned(), inode);
        }
    }
}

impl State {
    /// Counts a call and decides whether it is made.
    fn begin(&mut self, can_fail: u32, needs_space: bool) -> io::Result<()> {
        self.calls += 1;
        if self.crash_at.is_some_and(|at| self.calls >= at) {
            self.is_crashed = true;
        }
        if self.is_crashed {
            return Err(io::Error::other("the process is dead"));
        }
        if self.rng.chance(self.faults.background) {
            self.write_in_background();
        }
        if let Some((_, single)) = self.single.filter(|(at, _)| *at == self.calls) {
            match single {
                Single::Io => return Err(eio()),
                Single::Full if needs_space => return Err(enospc()),
                Single::Full => {}
                Single::Panic => panic!("the disk was told to panic"),
            }
        }
        if needs_space && self.faults.full > 0 && self.rng.chance(self.faults.full) {
            return Err(enospc());
        }
        if can_fail > 0 && self.rng.chance(can_fail) {
            return Err(eio());
        }
        Ok(())
    }

    /// The system writes something that was not synced yet.
    fn write_in_background(&mut self) {
        let newest = self.inodes.len().saturating_sub(3);
        let any = newest + self.rng.below(3);
        if let Some(inode) = self.inodes.get_mut(any) {
            inode.write_in_background(&mut self.rng);
        }
        if !self.changes.is_empty() && self.rng.chance(300) {
            let any = self.rng.below(self.changes.len());
            self.changes.remove(any).apply(&mut self.durable);
        }
    }

    /// How much of a read or a write is done.
    fn part(&mut self, wanted: usize) -> usize {
        let rate = self.faults.short;
        if wanted > 1 && rate > 0 && self.rng.chance(rate) {
            return 1 + self.rng.below(wanted - 1);
        }
        wanted
    }

    fn lookup(&self, name: &str) -> io::Result<usize> {
        let found = self.names.files.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a call of a step, in the order of the program or in that of its mutation.
    fn step(&mut self, step: Step, call: Call) -> io::Result<usize> {
        if let Some(steps) = &mut self.steps {
            steps.push(step);
        }
        match self.mutation {
            Some(Mutation::Without(left_out)) if left_out == step => return Ok(call.length()),
            Some(Mutation::After(first, _)) if first == step => {
                let length = call.length();
                if let Some((_, earlier)) = self.deferred.replace((step, call)) {
                    self.make(earlier)?;
                }
                return Ok(length);
            }
            _ => {}
        }
        let made = self.call(call)?;
        if let Some(Mutation::After(_, second)) = self.mutation
            && second == step
            && let Some((_, deferred)) = self.deferred.take()
        {
            self.call(deferred)?;
        }
        Ok(made)
    }

    /// Counts a call and makes it.
    fn call(&mut self, call: Call) -> io::Result<usize> {
        let needs_space = match &call {
            // What is there can be written over.
            Call::Write(inode, bytes, at) => {
                let end = at + bytes.len() as u64;
                end > self.inodes[*inode].seen.len() as u64
            }
            Call::Link(..) => true,
            _ => false,
        };
        let is_sync = matches!(call, Call::SyncFile(_) | Call::SyncDirectory(_));
        let rate = self.faults.io * if is_sync { 4 } else { 1 };
        let begun = self.begin(rate, needs_space);
        let repeats = self.mutation == Some(Mutation::RepeatedSyncs) && !self.is_crashed;
        match (begun, &call) {
            (Ok(()), _) => self.make(call),
            (Err(error), Call::SyncFile(inode)) => {
                self.inodes[*inode].fail_sync(&mut self.rng);
                // The second one has nothing to write.
                if repeats { Ok(0) } else { Err(error) }
            }
            (Err(error), Call::Write(inode, bytes, at)) => {
                let part = self.rng.below(bytes.len() + 1);
                let part = bytes[..part].to_vec();
                self.inodes[*inode].write(&part, *at);
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn make(&mut self, call: Call) -> io::Result<usize> {
        match call {
            Call::Write(inode, bytes, at) => {
                self.inodes[inode].write(&bytes, at);
                return Ok(bytes.len());
            }
            Call::SetSize(inode, size) => self.inodes[inode].set_size(size),
            Call::SyncFile(inode) => self.inodes[inode].sync(),
            Call::Rename(from, to) => {
                let inode = self.lookup(&from)?;
                self.change(Change::Rename(from, to, inode));
            }
            Call::Remove(name) => {
                self.lookup(&name)?;
                self.change(Change::Remove(name));
            }
            Call::Link(name, to) => {
                let inode = self.lookup(&name)?;
                self.change(Change::Name(to, inode));
            }
            Call::SyncDirectory(None) => self.durable.exists = true,
            Call::SyncDirectory(Some(directory)) => {
                let (durable, pending): (Vec<Change>, Vec<Change>) =
                    std::mem::take(&mut self.changes)
                        .into_iter()
                        .partition(|change| change.directory() == directory);
                self.changes = pending;
                for change in durable {
                    change.apply(&mut self.durable);
                }
            }
        }
        Ok(0)
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    fn fail_power(&mut self) {
        let Self {
            rng,
            durable,
            changes,
            inodes,
            ..
        } = self;
        durable.exists |= self.names.exists && rng.chance(500);
        for change in changes.drain(..) {
            if rng.chance(500) {
                change.apply(durable);
            }
        }
        durable.clean();
        for inode in inodes {
            inode.fail_power(rng);
        }
        self.names = self.durable.clone();
    }
}

impl Call {
    fn length(&self) -> usize {
        match self {
            Self::Write(_, bytes, _) => bytes.len(),
            _ => 0,
        }
    }
}

/// Releases the lock when dropped.
#[derive(Debug)]
struct Unlock(Simulated);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state.lock().is_locked = false;
    }
}

impl Disk for Simulated {
    fn path(&self) -> &Path {
        Path::new("/simulated")
    }

    fn create_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let (rate, is_new) = (state.faults.io, !state.names.exists);
        state.begin(rate, is_new)?;
        state.names.exists = true;
        Ok(())
    }

    fn lock(&self) -> Result<LockGuard> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(Error::Locked("the simulated disk is in use".to_owned()));
        }
        Ok(Box::new(Unlock(self.clone())))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state.lock().rng.next())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        let rate = state.faults.read;
        state.begin(rate, false)?;
        let names = state.names.files.keys();
        let own = names.filter(|name| !name.contains('/'));
        Ok(own.chain(&state.names.directories).cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let rate = state.faults.read;
        state.begin(rate, false)?;
        let inode = state.lookup(name)?;
        Ok(Box::new(SimulatedFile(self.clone(), inode)))
    }

    fn edit(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let rate = state.faults.io;
        state.begin(rate, true)?;
        let inode = match state.lookup(name) {
            Ok(inode) => {
                state.inodes[inode].set_size(0);
                inode
            }
            Err(_) => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.change(Change::Name(name.to_owned(), inode));
                inode
            }
        };
        Ok(Box::new(SimulatedFile(self.clone(), inode)))
    }

    fn rename(&self, from: &str, to: &str, step: Step) -> io::Result<()> {
        let call = Call::Rename(from.to_owned(), to.to_owned());
        self.state.lock().step(step, call).map(drop)
    }

    fn remove(&self, name: &str, step: Step) -> io::Result<()> {
        let call = Call::Remove(name.to_owned());
        self.state.lock().step(step, call).map(drop)
    }

    fn create_below(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let rate = state.faults.io;
        state.begin(rate, true)?;
        state.change(Change::Directory(name.to_owned()));
        Ok(())
    }

    fn link(&self, name: &str, below: &str, step: Step) -> io::Result<()> {
        let call = Call::Link(name.to_owned(), format!("{below}/{name}"));
        self.state.lock().step(step, call).map(drop)
    }

    fn sync_directory(&self, which: Directory<'_>, step: Step) -> io::Result<()> {
        let call = Call::SyncDirectory(match which {
            Directory::Parent => None,
            Directory::Own => Some(String::new()),
            Directory::Below(name) => Some(name.to_owned()),
        });
        self.state.lock().step(step, call).map(drop)
    }
}

/// An open file.
#[derive(Debug)]
struct SimulatedFile(Simulated, usize);

impl SimulatedFile {
    fn sync(&self, step: Step) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while step == Step::SyncFrame && state.holds_frames {
            state.is_waiting = true;
            self.0.changed.notify_all();
            self.0.changed.wait(&mut state);
        }
        state.is_waiting = false;
        state.step(step, Call::SyncFile(self.1)).map(drop)
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.state.lock().inodes[self.1].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        let rate = state.faults.read;
        state.begin(rate, false)?;
        let wanted = state.part(buffer.len());
        let at = usize::try_from(at).unwrap();
        let bytes = state.inodes[self.1].seen.get(at..).unwrap_or_default();
        let read = wanted.min(bytes.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64, step: Step) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        let wanted = state.part(bytes.len());
        state.step(step, Call::Write(self.1, bytes[..wanted].to_vec(), at))
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let rate = state.faults.io;
        state.begin(rate, true)?;
        let inode = &mut state.inodes[self.1];
        debug_assert!(from <= to);
        let size = to.max(inode.seen.len() as u64);
        inode.set_size(size);
        Ok(())
    }

    fn set_size(&self, size: u64, step: Step) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.step(step, Call::SetSize(self.1, size)).map(drop)
    }

    fn sync_data(&self, step: Step) -> io::Result<()> {
        self.sync(step)
    }

    fn sync_all(&self, step: Step) -> io::Result<()> {
        self.sync(step)
    }
}
