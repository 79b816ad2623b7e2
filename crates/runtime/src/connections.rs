//! Bounds of the connections of a server: how many there are, and how long each may do nothing.
//!
//! A connection without a user may be an attack, and one address may stand for thousands of nodes.
//! So connections without a user are few and short, and when they are too many one of the address
//! with the most of them gives way. Those of a user are counted by user, whatever the address.

mod body;
mod stream;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

pub use self::{
    body::{Pace, TrackedBody},
    stream::CountedStream,
};

/// How long an idle connection may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server allows.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open connections of all users and addresses.
    pub all: usize,
    /// Open connections of no user yet, from all addresses.
    pub unauthenticated: usize,
    /// Open connections of no user yet, from one address.
    pub unauthenticated_of_address: usize,
    /// Open connections of one user.
    pub of_user: usize,
    /// Requests in progress of one user.
    pub requests_of_user: usize,
    /// How long a connection of no user may be without a request.
    pub unauthenticated_idle: Duration,
    /// How long a connection of a user may be without a request.
    pub idle: Duration,
    /// How long a client may take to read the next part of a response.
    pub unread: Duration,
}

/// Why a connection is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There are too many connections of no user.
    TooMany,
    /// It was without a request for too long.
    Idle,
    /// The client does not read a response.
    Unread,
    /// The server wants no more requests over it, but answers those in progress.
    Refused,
}

/// Of what a user has too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Of open connections.
    #[error("the user has too many open connections")]
    Connections,
    /// Of requests in progress.
    #[error("the user has too many requests in progress")]
    Requests,
}

/// The open connections of a server. Clones share them.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    all: usize,
    last: u64,
    /// Those of no user, oldest first, by address.
    unauthenticated: HashMap<IpAddr, BTreeMap<u64, Arc<Closing>>>,
    users: HashMap<Arc<str>, UserCount>,
}

#[derive(Debug, Default)]
struct UserCount {
    connections: usize,
    requests: Arc<AtomicUsize>,
}

/// Tells a connection that it is to be ended.
#[derive(Debug, Default)]
struct Closing {
    why: OnceLock<End>,
    told: Notify,
}

impl Closing {
    fn tell(&self, why: End) {
        // The first reason counts.
        let _told_before = self.why.set(why);
        self.told.notify_one();
    }
}

/// The address whose connections are counted together: a network of IPv6 has 2^64 addresses.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

impl Table {
    fn unauthenticated(&self) -> usize {
        self.unauthenticated.values().map(BTreeMap::len).sum()
    }

    /// Ends the oldest connection of the address with the most of no user. False if there is none.
    fn end_one(&mut self) -> bool {
        let most = self.unauthenticated.iter().max_by_key(|(_, of)| of.len());
        match most.map(|(address, _)| *address) {
            Some(address) => self.end_one_of(address),
            None => false,
        }
    }

    fn end_one_of(&mut self, address: IpAddr) -> bool {
        let of_address = self.unauthenticated.get(&address);
        let oldest = of_address.and_then(|of| of.first_key_value());
        let Some((number, closing)) = oldest else {
            return false;
        };
        let (number, closing) = (*number, Arc::clone(closing));
        closing.tell(End::TooMany);
        self.remove_unauthenticated(address, number);
        true
    }

    /// Counts a connection no more as one of no user. False if it was none.
    fn remove_unauthenticated(&mut self, address: IpAddr, number: u64) -> bool {
        let Some(of_address) = self.unauthenticated.get_mut(&address) else {
            return false;
        };
        let removed = of_address.remove(&number).is_some();
        if of_address.is_empty() {
            self.unauthenticated.remove(&address);
        }
        removed
    }
}

impl Connections {
    /// No connections, and what is allowed.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let table = Mutex::default();
        Self(Arc::new(Inner { bounds, table }))
    }

    /// Counts a connection that was accepted from this address. Another one of no user is ended if
    /// there are too many. `None` if there are too many of users.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Arc<Connection>> {
        let (bounds, address) = (&self.0.bounds, counted_address(address));
        let mut table = self.0.table.lock();
        let of_address = table.unauthenticated.get(&address).map_or(0, BTreeMap::len);
        let is_full = table.all >= bounds.all || table.unauthenticated() >= bounds.unauthenticated;
        let has_room = if of_address >= bounds.unauthenticated_of_address {
            table.end_one_of(address)
        } else {
            !is_full || table.end_one()
        };
        if !has_room {
            return None;
        }
        table.all += 1;
        table.last += 1;
        let (number, closing) = (table.last, Arc::<Closing>::default());
        let of_address = table.unauthenticated.entry(address).or_default();
        of_address.insert(number, Arc::clone(&closing));
        drop(table);
        Some(Arc::new(Connection {
            connections: self.clone(),
            number,
            address,
            closing,
            state: Mutex::new(State {
                user: None,
                open: 0,
                last: 0,
                idle_since: Instant::now(),
                unread: BTreeMap::new(),
            }),
        }))
    }

    /// The number of open connections, and of those that are of no user.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let table = self.0.table.lock();
        (table.all, table.unauthenticated())
    }
}

/// An open connection. It counts until it is dropped.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    number: u64,
    address: IpAddr,
    closing: Arc<Closing>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The user, and the requests of it that are in progress.
    user: Option<(Arc<str>, Arc<AtomicUsize>)>,
    /// Requests in progress.
    open: usize,
    /// The number of the last request.
    last: u64,
    /// When the last request ended.
    idle_since: Instant,
    /// When the client got a part of a response and did not ask for the next one yet.
    unread: BTreeMap<u64, Instant>,
}

impl Connection {
    /// Counts the connection among those of this user from now on. The first user counts.
    ///
    /// # Errors
    /// If the user has too many.
    pub fn authenticated(&self, user: &str) -> Result<(), TooMany> {
        let mut state = self.state.lock();
        if state.user.is_some() {
            return Ok(());
        }
        let mut table = self.connections.0.table.lock();
        let known = table.users.get(user).map_or(0, |count| count.connections);
        if known >= self.connections.0.bounds.of_user {
            return Err(TooMany::Connections);
        }
        table.remove_unauthenticated(self.address, self.number);
        let user: Arc<str> = user.into();
        let count = table.users.entry(Arc::clone(&user)).or_default();
        count.connections += 1;
        let requests = Arc::clone(&count.requests);
        state.user = Some((user, requests));
        Ok(())
    }

    /// A request of this connection begins.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Request {
        let mut state = self.state.lock();
        state.open += 1;
        state.last += 1;
        Request {
            connection: Arc::clone(self),
            number: state.last,
            of_user: OnceLock::new(),
        }
    }

    /// Waits until the connection has to be ended, and returns why.
    pub async fn end(&self) -> End {
        loop {
            if let Some(why) = self.closing.why.get() {
                return *why;
            }
            let now = Instant::now();
            // Most often a deadline has moved when it comes. A new one may come earlier, but not
            // before the longest sleep.
            let longest = now + self.connections.0.bounds.unread;
            let next = match self.deadline() {
                Some((deadline, why)) if deadline <= now => return why,
                Some((deadline, _)) => deadline.min(longest),
                None => longest,
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.closing.told.notified() => {}
            }
        }
    }

    /// Runs a connection until it ends, or has to be ended, and returns why. `refuse_more` lets it
    /// end once the requests in progress are answered; so does `stop`.
    ///
    /// # Errors
    /// The reason why it was not run to its end.
    pub async fn run<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        stop: impl Future<Output = ()>,
        refuse_more: impl Fn(Pin<&mut C>),
    ) -> Result<C::Output, End> {
        let why = tokio::select! {
            ended = connection.as_mut() => return Ok(ended),
            () = stop => {
                refuse_more(connection.as_mut());
                return Ok(connection.await);
            }
            why = self.end() => why,
        };
        if matches!(why, End::TooMany | End::Unread) {
            return Err(why);
        }
        refuse_more(connection.as_mut());
        tokio::select! {
            ended = connection => Ok(ended),
            () = self.too_long(why) => Err(why),
        }
    }

    /// Waits as long as a connection that gets no more requests may take to end.
    async fn too_long(&self, why: End) {
        if why == End::Idle {
            return tokio::time::sleep(CLOSE_TIMEOUT).await;
        }
        loop {
            let now = Instant::now();
            let longest = now + self.connections.0.bounds.unread;
            match self.deadline() {
                Some((deadline, _)) if deadline <= now => return,
                Some((deadline, _)) => tokio::time::sleep_until(deadline.min(longest)).await,
                None => tokio::time::sleep_until(longest).await,
            }
        }
    }

    /// When the connection is to be ended as things are, and why.
    fn deadline(&self) -> Option<(Instant, End)> {
        let (bounds, state) = (&self.connections.0.bounds, self.state.lock());
        if state.open > 0 {
            let oldest = state.unread.values().min()?;
            return Some((*oldest + bounds.unread, End::Unread));
        }
        let idle = match state.user {
            Some(_) => bounds.idle,
            None => bounds.unauthenticated_idle,
        };
        Some((state.idle_since + idle, End::Idle))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.connections.0.table.lock();
        table.all -= 1;
        table.remove_unauthenticated(self.address, self.number);
        let Some((user, _)) = &self.state.get_mut().user else {
            return;
        };
        let Some(count) = table.users.get_mut(user) else {
            return;
        };
        count.connections -= 1;
        if count.connections == 0 {
            table.users.remove(user);
        }
    }
}

/// A request in progress. It counts until it is dropped: with the body of its response.
#[derive(Debug)]
pub struct Request {
    connection: Arc<Connection>,
    number: u64,
    of_user: OnceLock<Arc<AtomicUsize>>,
}

impl Request {
    /// Counts the request, and its connection, among those of this user.
    ///
    /// # Errors
    /// If the user has too many.
    pub fn authenticated(&self, user: &str) -> Result<(), TooMany> {
        self.connection.authenticated(user)?;
        let state = self.connection.state.lock();
        let Some((_, requests)) = &state.user else {
            return Ok(());
        };
        if self.of_user.set(Arc::clone(requests)).is_err() {
            return Ok(());
        }
        let before = requests.fetch_add(1, Ordering::Relaxed);
        match before < self.connection.connections.0.bounds.requests_of_user {
            true => Ok(()),
            false => Err(TooMany::Requests),
        }
    }

    /// No more requests are to come over this connection.
    pub fn refuse_others(&self) {
        self.connection.closing.tell(End::Refused);
    }

    /// The client has a part of the response, or its head, and has to ask for the next one.
    pub(crate) fn waits_for_client(&self) {
        let mut state = self.connection.state.lock();
        state.unread.insert(self.number, Instant::now());
    }

    /// The client has asked for more than there is.
    pub(crate) fn waits_for_server(&self) {
        self.connection.state.lock().unread.remove(&self.number);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(requests) = self.of_user.get() {
            requests.fetch_sub(1, Ordering::Relaxed);
        }
        let mut state = self.connection.state.lock();
        state.open -= 1;
        state.unread.remove(&self.number);
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests;
