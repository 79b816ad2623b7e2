//! Requests to the agent in the guest, through a virtio-serial port; `guest/agent` has the
//! protocol.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;

/// What a script has done.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; 124 if it was ended at its time limit, 128 and the signal's number if a
    /// signal ended it.
    pub status: i32,
    /// Standard output and standard error.
    pub text: String,
}

/// What waits for replies: by request, and for the agent's first line as request 0.
type Waiting = Arc<Mutex<HashMap<u64, SyncSender<Output>>>>;

/// The request number under which the agent's first line is awaited.
const READY: u64 = 0;

/// A connection to the agent of a guest. It ends with the machine.
#[derive(Debug)]
pub(crate) struct Channel {
    writer: Mutex<(UnixStream, u64)>,
    waiting: Waiting,
    ready: Mutex<Receiver<Output>>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The machine ended.
    Ended,
    /// It may still come.
    Late,
}

impl Channel {
    /// Connects to the socket that qemu has made.
    pub(crate) fn connect(socket: &Path) -> anyhow::Result<Self> {
        let writer = UnixStream::connect(socket)
            .with_context(|| format!("connect to {}", socket.display()))?;
        let reader = writer.try_clone()?;
        let (sender, ready) = sync_channel(1);
        let waiting: Waiting = Arc::new(Mutex::new(HashMap::from([(READY, sender)])));
        let replies = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("vm-replies".into())
            .spawn(move || {
                // Ends with the connection. Those who wait learn it from their queues.
                let _ended = read_replies(BufReader::new(reader), &replies);
                replies.lock().clear();
            })?;
        Ok(Self {
            writer: Mutex::new((writer, READY)),
            waiting,
            ready: Mutex::new(ready),
        })
    }

    /// Waits for the agent's first line.
    pub(crate) fn wait_ready(&self, limit: Duration) -> Result<(), Missing> {
        receive(&self.ready.lock(), limit).map(|_| ())
    }

    /// Sends a script with its input. The guest ends it after `seconds`.
    pub(crate) fn send(
        &self,
        script: &str,
        input: &[u8],
        seconds: u64,
    ) -> anyhow::Result<Receiver<Output>> {
        let (sender, receiver) = sync_channel(1);
        let mut writer = self.writer.lock();
        writer.1 += 1;
        let id = writer.1;
        self.waiting.lock().insert(id, sender);
        let head = format!("{id} {seconds} {} {}\n", script.len(), input.len());
        let stream = &mut writer.0;
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(script.as_bytes()))
            .and_then(|()| stream.write_all(input))
            .context("the machine does not take the script")?;
        Ok(receiver)
    }
}

/// Waits for the reply to a script.
pub(crate) fn receive(receiver: &Receiver<Output>, limit: Duration) -> Result<Output, Missing> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    receiver.recv_timeout(limit).map_err(|error| match error {
        Disconnected => Missing::Ended,
        Timeout => Missing::Late,
    })
}

fn read_replies(mut stream: BufReader<UnixStream>, waiting: &Waiting) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (id, status, length): (u64, i32, u64) = match words[..] {
            ["ready"] => (READY, 0, 0),
            [id, status, length] => (id.parse()?, status.parse()?, length.parse()?),
            _ => bail!("the agent says {line:?}"),
        };
        let mut bytes = Vec::new();
        stream.by_ref().take(length).read_to_end(&mut bytes)?;
        if let Some(sender) = waiting.lock().remove(&id) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            // Who gave up after its time limit takes no reply.
            let _given_up = sender.try_send(Output { status, text });
        }
    }
}
