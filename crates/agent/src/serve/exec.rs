//! `exec`: a command in a running container.
//!
//! It goes to containerd's task service rather than through CRI: CRI answers with the address of a
//! streaming server that speaks SPDY, or an old WebSocket protocol in which input cannot end. The
//! task service takes named pipes and makes the terminal itself, so resizing, the end of input and
//! the exit code are plain calls.

use std::{
    fs::{self, File},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use pandaemon_cri::{
    TaskService, pb,
    tasks::{Exec, Pipes},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::unix::pipe};

use super::{
    Answer, Refusal, Scene, find, is_set, query, relay, running,
    socket::{self, Input, Receiver, STDERR, STDOUT, Sender, V4, V5},
};

const SIGHUP: u32 = 1;
const SIGKILL: u32 = 9;
/// A command whose client hung up gets this long to end by itself.
const HANGUP: Duration = Duration::from_secs(2);
/// How long a client may take to close after the last message.
const LINGER: Duration = Duration::from_secs(10);
const PIECE: usize = 32 << 10;

/// What the client wants to be connected.
#[derive(Debug, Clone)]
struct Wanted {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    /// The same for CRI.
    fn request(self, container_id: String) -> pb::ExecRequest {
        pb::ExecRequest {
            container_id,
            cmd: self.command,
            tty: self.tty,
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

pub(super) async fn serve(
    scene: &Scene,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Answer, Refusal> {
    let pod = find(scene, namespace, name, container)?;
    let uri = request.uri().clone();
    let on = |short: &str, long: &str| is_set(&uri, short) || is_set(&uri, long);
    let tty = on("tty", "tty");
    let wanted = Wanted {
        command: query(&uri, "command").collect(),
        stdin: on("stdin", "input"),
        stdout: on("stdout", "output"),
        stderr: on("stderr", "error") && !tty,
        tty,
    };
    if wanted.command.is_empty() {
        let words = "you must specify at least 1 command for the container".to_owned();
        return Err((StatusCode::BAD_REQUEST, words));
    }
    let id = running(scene, &pod, container).await?;
    if relay::is_spdy(request.headers()) {
        let url = scene.context.runtime.exec_url(wanted.request(id)).await;
        let url = url.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        return relay::pass(&url, request).await;
    }
    let Some(tasks) = scene.context.tasks.clone() else {
        let words = "exec is served for containerd only".to_owned();
        return Err((StatusCode::NOT_IMPLEMENTED, words));
    };
    let dir = scene.context.paths.containerd().join("exec");
    let (answer, upgrade) = socket::accept(&mut request, &[V5, V4])?;
    pandaemon_runtime::spawn("exec", async move {
        let (sender, receiver) = match socket::open(upgrade).await {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade"),
        };
        let session = match Session::start(&tasks, &id, &wanted, dir).await {
            Ok(session) => session,
            Err(words) => return sender.finish(&socket::failed(&words)).await,
        };
        session.run(sender, receiver).await;
    });
    Ok(answer)
}

/// Named pipes of one command. Dropping removes them.
struct Fifos {
    dir: PathBuf,
}

impl Drop for Fifos {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Fifos {
    fn new(parent: &std::path::Path, id: &str) -> std::io::Result<Self> {
        let dir = parent.join(id);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    /// Makes a pipe and opens it for both directions, so that opening waits for nobody.
    fn make(&self, name: &str) -> std::io::Result<(String, File)> {
        let path = self.dir.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut options = fs::OpenOptions::new();
        let flags = OFlag::O_NONBLOCK.bits();
        let file = options
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&path)?;
        Ok((path.to_string_lossy().into_owned(), file))
    }
}

struct Session {
    exec: Arc<Exec>,
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    _fifos: Fifos,
}

impl Session {
    async fn start(
        tasks: &TaskService,
        container: &str,
        wanted: &Wanted,
        dir: PathBuf,
    ) -> Result<Self, String> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("exec-{}-{number}", std::process::id());
        let spec = tasks
            .specification(container)
            .await
            .map_err(|error| error.to_string())?;
        let process = process(&spec, wanted)?;
        let words = |error: std::io::Error| error.to_string();
        let fifos = Fifos::new(&dir, &id).map_err(words)?;
        let mut pipes = Pipes {
            terminal: wanted.tty,
            ..Pipes::default()
        };
        let (mut stdin, mut stdout, mut stderr) = (None, None, None);
        if wanted.stdin {
            let (path, file) = fifos.make("in").map_err(words)?;
            pipes.stdin = path;
            stdin = Some(pipe::Sender::from_file_unchecked(file).map_err(words)?);
        }
        if wanted.stdout {
            let (path, file) = fifos.make("out").map_err(words)?;
            pipes.stdout = path;
            stdout = Some(pipe::Receiver::from_file_unchecked(file).map_err(words)?);
        }
        if wanted.stderr {
            let (path, file) = fifos.make("err").map_err(words)?;
            pipes.stderr = path;
            stderr = Some(pipe::Receiver::from_file_unchecked(file).map_err(words)?);
        }
        let exec = tasks.exec(container, &id, process, pipes).await;
        let exec = exec.map_err(|error| error.message())?;
        Ok(Self {
            exec: Arc::new(exec),
            stdin,
            stdout,
            stderr,
            _fifos: fifos,
        })
    }

    async fn run(mut self, mut sender: Sender, receiver: Receiver) {
        let input = input(Arc::clone(&self.exec), self.stdin.take(), receiver);
        let mut input = pandaemon_runtime::spawn("exec input", input);
        let ended = self.output(&mut sender).await;
        let status = match ended {
            Ok(code) => socket::ended(code),
            Err(words) => socket::failed(&words),
        };
        sender.finish(&status).await;
        // A connection that is dropped with input unread would take the last words with it, so
        // the client may close first. Input that nobody takes must not keep it for ever.
        if tokio::time::timeout(LINGER, &mut input).await.is_err() {
            input.abort();
        }
    }

    /// Sends what the command printed. Nobody to read it ends the command, as does its input's
    /// end: that may wait for a command that does not take it.
    async fn say(&self, sender: &mut Sender, channel: u8, bytes: &[u8]) {
        if !sender.send(channel, bytes).await {
            let _ = self.exec.kill(SIGHUP).await;
        }
    }

    /// Carries output until the command has ended and everything it printed was sent.
    async fn output(&mut self, sender: &mut Sender) -> Result<u32, String> {
        let (mut out, mut err) = (vec![0; PIECE], vec![0; PIECE]);
        let exec = Arc::clone(&self.exec);
        let mut end = Box::pin(async move {
            let code = exec.wait().await;
            // After this everything is in the pipes.
            let _ = exec.delete().await;
            code
        });
        let mut code = None;
        loop {
            let ended = code.is_some();
            tokio::select! {
                biased;
                read = read(self.stdout.as_ref(), &mut out, ended) => match read {
                    Some(length) => self.say(sender, STDOUT, &out[..length]).await,
                    None => self.stdout = None,
                },
                read = read(self.stderr.as_ref(), &mut err, ended) => match read {
                    Some(length) => self.say(sender, STDERR, &err[..length]).await,
                    None => self.stderr = None,
                },
                done = &mut end, if code.is_none() => code = Some(done),
                else => break,
            }
            if code.is_some() && self.stdout.is_none() && self.stderr.is_none() {
                break;
            }
        }
        match code {
            Some(Ok(code)) => Ok(code),
            Some(Err(error)) => Err(error.message()),
            None => Err("the command was lost".to_owned()),
        }
    }
}

/// Reads from a pipe. As long as the command runs it waits for more; then an empty pipe ends it.
async fn read(pipe: Option<&pipe::Receiver>, buffer: &mut [u8], ended: bool) -> Option<usize> {
    let Some(pipe) = pipe else {
        return std::future::pending().await;
    };
    loop {
        match pipe.try_read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if ended {
                    return None;
                }
                pipe.readable().await.ok()?;
            }
            Err(_) => return None,
        }
    }
}

/// Carries input; a client that hangs up ends the command.
async fn input(exec: Arc<Exec>, mut stdin: Option<pipe::Sender>, mut receiver: Receiver) {
    while let Some(input) = receiver.next().await {
        match (input, &mut stdin) {
            (Input::Stdin(bytes), Some(pipe)) => {
                if pipe.write_all(&bytes).await.is_err() {
                    stdin = None;
                }
            }
            (Input::Stdin(_), None) => (),
            (Input::StdinEnd, _) => {
                close(&exec, &mut stdin).await;
            }
            (Input::Resize(width, height), _) => {
                let _ = exec.resize(width, height).await;
            }
        }
    }
    close(&exec, &mut stdin).await;
    let _ = exec.kill(SIGHUP).await;
    tokio::time::sleep(HANGUP).await;
    let _ = exec.kill(SIGKILL).await;
}

/// The end of input: what is in the pipe must have been taken before it is closed.
async fn close(exec: &Exec, stdin: &mut Option<pipe::Sender>) {
    if stdin.take().is_some() {
        let _ = exec.close_stdin().await;
    }
}

/// The container's own process, with another command.
fn process(spec: &[u8], wanted: &Wanted) -> Result<Vec<u8>, String> {
    let spec: Value = serde_json::from_slice(spec).map_err(|error| error.to_string())?;
    let mut process = spec
        .get("process")
        .cloned()
        .ok_or("the container has no process")?;
    process["args"] = json!(wanted.command);
    process["terminal"] = json!(wanted.tty);
    if wanted.tty {
        let has_term = process["env"].as_array().is_some_and(|env| {
            env.iter()
                .any(|one| one.as_str().is_some_and(|one| one.starts_with("TERM=")))
        });
        if !has_term && let Some(env) = process["env"].as_array_mut() {
            env.push(json!("TERM=xterm"));
        }
    }
    Ok(process.to_string().into_bytes())
}
