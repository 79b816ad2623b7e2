//! `exec`: a command in a running container.
//!
//! It uses containerd's task service instead of CRI. CRI returns the URL of a streaming server that
//! speaks SPDY, or an old WebSocket protocol without an end of input. The task service takes named
//! pipes and allocates the terminal itself, so resizing, the end of input and the exit code are
//! plain calls.

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
    HttpError, HttpResponse, ServerState, find, is_set, query, relay, running_container,
    socket::{self, Input, Receiver, STDERR, STDOUT, Sender, V4, V5},
    upgrade::{self, Upgrade},
};

const SIGHUP: u32 = 1;
const SIGKILL: u32 = 9;
/// How long a command may take to end after its client disconnected and it got SIGHUP.
const HANGUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client may take to close the connection after the final status.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The size of read buffers in bytes.
const BUFFER: usize = 32 << 10;

/// The command and the streams that the client asks for; the API's PodExecOptions.
#[derive(Debug, Clone)]
struct ExecOptions {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl ExecOptions {
    /// The options in the form of CRI.
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
    state: &ServerState,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<HttpResponse, HttpError> {
    let pod = find(state, namespace, name, container)?;
    let uri = request.uri().clone();
    let on = |short: &str, long: &str| is_set(&uri, short) || is_set(&uri, long);
    let tty = is_set(&uri, "tty");
    let options = ExecOptions {
        command: query(&uri, "command").collect(),
        stdin: on("stdin", "input"),
        stdout: on("stdout", "output"),
        stderr: on("stderr", "error") && !tty,
        tty,
    };
    if options.command.is_empty() {
        let message = "you must specify at least 1 command for the container".to_owned();
        return Err((StatusCode::BAD_REQUEST, message));
    }
    let upgrade = upgrade::check(&request, &[V5, V4])?;
    let id = running_container(state, &pod, container).await?;
    let handshake = match upgrade {
        Upgrade::Spdy => {
            let runtime = Arc::clone(&state.context.runtime);
            let asked = async move { runtime.exec_url(options.request(id)).await };
            let url = state.tokens.request(asked).await?;
            return relay::pass(url, request).await;
        }
        Upgrade::WebSocket(handshake) => handshake,
    };
    let Some(tasks) = state.context.tasks.clone() else {
        let message = "exec needs containerd as the container runtime".to_owned();
        return Err((StatusCode::NOT_IMPLEMENTED, message));
    };
    let dir = state.context.paths.containerd().join("exec");
    let (response, upgrade) = handshake.accept(&mut request);
    pandaemon_runtime::spawn("exec", async move {
        let (sender, receiver) = match socket::open(upgrade).await {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "cannot upgrade the connection"),
        };
        let session = match Session::start(&tasks, &id, &options, dir).await {
            Ok(session) => session,
            Err(message) => return sender.finish(&socket::failed(&message)).await,
        };
        session.run(sender, receiver).await;
    });
    Ok(response)
}

/// The directory with the named pipes of one command. Dropping it removes them.
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

    /// Creates a pipe and opens it for both directions, so that opening does not wait for the other
    /// end.
    fn create(&self, name: &str) -> std::io::Result<(String, File)> {
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
        options: &ExecOptions,
        dir: PathBuf,
    ) -> Result<Self, String> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("exec-{}-{number}", std::process::id());
        let spec = tasks
            .specification(container)
            .await
            .map_err(|error| error.to_string())?;
        let process = process(&spec, options)?;
        let message = |error: std::io::Error| error.to_string();
        let fifos = Fifos::new(&dir, &id).map_err(message)?;
        let mut pipes = Pipes {
            terminal: options.tty,
            ..Pipes::default()
        };
        let (mut stdin, mut stdout, mut stderr) = (None, None, None);
        if options.stdin {
            let (path, file) = fifos.create("in").map_err(message)?;
            pipes.stdin = path;
            stdin = Some(pipe::Sender::from_file_unchecked(file).map_err(message)?);
        }
        if options.stdout {
            let (path, file) = fifos.create("out").map_err(message)?;
            pipes.stdout = path;
            stdout = Some(pipe::Receiver::from_file_unchecked(file).map_err(message)?);
        }
        if options.stderr {
            let (path, file) = fifos.create("err").map_err(message)?;
            pipes.stderr = path;
            stderr = Some(pipe::Receiver::from_file_unchecked(file).map_err(message)?);
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
        let input = copy_input(Arc::clone(&self.exec), self.stdin.take(), receiver);
        let mut input = pandaemon_runtime::spawn("exec input", input);
        let ended = self.copy_output(&mut sender).await;
        let status = match ended {
            Ok(code) => socket::ended(code),
            Err(message) => socket::failed(&message),
        };
        sender.finish(&status).await;
        // If the connection were dropped with unread input, the client might not receive the
        // status. So the client closes first, but it must not keep the connection without end.
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut input)
            .await
            .is_err()
        {
            input.abort();
        }
    }

    /// Sends output of the command. If the client has disconnected, the command gets SIGHUP: the
    /// task that reads input may be blocked by a command that does not take it.
    async fn send_output(&self, sender: &mut Sender, channel: u8, bytes: &[u8]) {
        if !sender.send(channel, bytes).await {
            let _ = self.exec.kill(SIGHUP).await;
        }
    }

    /// Copies output until the command has ended and all its output was sent; returns the exit
    /// code.
    async fn copy_output(&mut self, sender: &mut Sender) -> Result<u32, String> {
        let (mut out, mut err) = (vec![0; BUFFER], vec![0; BUFFER]);
        let exec = Arc::clone(&self.exec);
        let mut end = Box::pin(async move {
            let code = exec.wait().await;
            // After this call all output is in the pipes.
            let _ = exec.delete().await;
            code
        });
        let mut code = None;
        loop {
            let ended = code.is_some();
            tokio::select! {
                biased;
                read = read(self.stdout.as_ref(), &mut out, ended) => match read {
                    Some(length) => self.send_output(sender, STDOUT, &out[..length]).await,
                    None => self.stdout = None,
                },
                read = read(self.stderr.as_ref(), &mut err, ended) => match read {
                    Some(length) => self.send_output(sender, STDERR, &err[..length]).await,
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
            None => Err("containerd did not return the exit code".to_owned()),
        }
    }
}

/// Reads from a pipe; `None` at its end. While the command runs this waits for more; after its end
/// an empty pipe is at its end.
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

/// Copies input to the command. When the client disconnects, the command gets SIGHUP and then
/// SIGKILL.
async fn copy_input(exec: Arc<Exec>, mut stdin: Option<pipe::Sender>, mut receiver: Receiver) {
    while let Some(input) = receiver.next().await {
        match (input, &mut stdin) {
            (Input::Stdin(bytes), Some(pipe)) => {
                if pipe.write_all(&bytes).await.is_err() {
                    stdin = None;
                }
            }
            (Input::Stdin(_), None) => (),
            (Input::StdinEnd, _) => {
                close_stdin(&exec, &mut stdin).await;
            }
            (Input::Resize(width, height), _) => {
                let _ = exec.resize(width, height).await;
            }
        }
    }
    close_stdin(&exec, &mut stdin).await;
    let _ = exec.kill(SIGHUP).await;
    tokio::time::sleep(HANGUP_TIMEOUT).await;
    let _ = exec.kill(SIGKILL).await;
}

/// Ends the input. containerd closes the pipe after the command has read what is in it.
async fn close_stdin(exec: &Exec, stdin: &mut Option<pipe::Sender>) {
    if stdin.take().is_some() {
        let _ = exec.close_stdin().await;
    }
}

/// The OCI specification of the container's process, with another command.
fn process(spec: &[u8], options: &ExecOptions) -> Result<Vec<u8>, String> {
    let spec: Value = serde_json::from_slice(spec).map_err(|error| error.to_string())?;
    let mut process = spec
        .get("process")
        .cloned()
        .ok_or("the container's specification has no process")?;
    process["args"] = json!(options.command);
    process["terminal"] = json!(options.tty);
    if options.tty {
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
