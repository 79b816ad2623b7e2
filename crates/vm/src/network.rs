//! A virtual network: machines that share an Ethernet segment, apart from the host's networks.

use std::{
    io,
    net::Ipv4Addr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Longer than any frame of a virtual card.
const FRAME_MAX: usize = 128 * 1024;
/// How many machines have an address.
const MACHINES_MAX: usize = 200;

/// An Ethernet segment. Every frame of a machine goes to all others, as a hub does it. A machine
/// that does not read fast enough misses frames.
#[derive(Debug)]
pub struct Network {
    dir: TempDir,
    ports: Arc<Mutex<Vec<PathBuf>>>,
    hub: Option<JoinHandle<()>>,
}

/// The place of a machine in a network.
#[derive(Debug, Clone)]
pub struct Port {
    /// The address of the machine, in a network of 24 bits.
    pub address: Ipv4Addr,
    pub(crate) mac: String,
    pub(crate) own: PathBuf,
    pub(crate) hub: PathBuf,
}

impl Network {
    /// A network without machines.
    ///
    /// # Errors
    /// When sockets cannot be made in the directory for temporary files.
    pub fn new() -> anyhow::Result<Arc<Self>> {
        let dir = tempfile::Builder::new().prefix("vm-network-").tempdir()?;
        let socket = UnixDatagram::bind(dir.path().join("hub")).context("make the hub")?;
        let ports = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&ports);
        let hub = std::thread::Builder::new()
            .name("vm-network".into())
            .spawn(move || forward(&socket, &known))?;
        Ok(Arc::new(Self {
            dir,
            ports,
            hub: Some(hub),
        }))
    }

    /// The next free place.
    pub(crate) fn attach(&self) -> anyhow::Result<Port> {
        let mut ports = self.ports.lock();
        let number = ports.len() + 1;
        ensure!(number <= MACHINES_MAX, "the network has no free address");
        let number = u8::try_from(number)?;
        let own = self.dir.path().join(number.to_string());
        ports.push(own.clone());
        Ok(Port {
            address: Ipv4Addr::new(10, 77, 0, number),
            mac: format!("52:54:00:77:00:{number:02x}"),
            own,
            hub: self.hub(),
        })
    }

    fn hub(&self) -> PathBuf {
        self.dir.path().join("hub")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // An empty frame ends the hub.
        let asked = UnixDatagram::unbound().and_then(|socket| socket.send_to(&[], self.hub()));
        if let (Ok(_), Some(hub)) = (asked, self.hub.take()) {
            // It has nothing to say.
            let _ended = hub.join();
        }
    }
}

/// Passes frames on until an empty one arrives.
fn forward(socket: &UnixDatagram, ports: &Mutex<Vec<PathBuf>>) {
    let Ok(sender) = UnixDatagram::unbound() else {
        return;
    };
    if sender.set_nonblocking(true).is_err() {
        return;
    }
    let mut frame = vec![0; FRAME_MAX];
    loop {
        let (length, from) = match socket.recv_from(&mut frame) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if length == 0 {
            return;
        }
        let from = from.as_pathname().map(Path::to_owned);
        let others = ports.lock().clone();
        for port in others.iter().filter(|port| Some(*port) != from.as_ref()) {
            // A machine that is off, or whose queue is full, misses the frame.
            let _lost = sender.send_to(&frame[..length], port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reaches_all_other_ports() {
        let network = Network::new().unwrap();
        let ports: Vec<Port> = (0..3).map(|_| network.attach().unwrap()).collect();
        let cards: Vec<UnixDatagram> = ports
            .iter()
            .map(|port| UnixDatagram::bind(&port.own).unwrap())
            .collect();
        cards[0].send_to(b"frame", &ports[0].hub).unwrap();
        let mut buffer = [0; 16];
        for card in &cards[1..] {
            assert_eq!(card.recv(&mut buffer).unwrap(), 5);
        }
        cards[0].set_nonblocking(true).unwrap();
        assert!(
            cards[0].recv(&mut buffer).is_err(),
            "its own frame came back"
        );
        let dir = network.dir.path().to_owned();
        drop(network);
        assert!(!dir.exists());
    }
}
