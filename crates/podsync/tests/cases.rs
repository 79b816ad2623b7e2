//! Text cases: a pod and what exists of it above the line, what is due and reported below it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken case must fail loudly"
)]

use std::fmt::Write as _;

use pandaemon_podsync::{
    Action, Container, ContainerSpec, ContainerState, Deletion, Memory, Observed, Phase, PodView,
    RestartPolicy, Sandbox, State, container_hash, plan,
};

#[derive(Default)]
struct World {
    view: PodView,
    observed: Observed,
    memory: Memory,
    now: i64,
}

fn field<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number(words: &[&str], key: &str) -> i64 {
    field(words, key).map_or(0, |text| text.parse().unwrap())
}

impl World {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.get(1).copied().unwrap_or_default();
        match words[0] {
            "policy" => {
                self.view.restart_policy = match name {
                    "Never" => RestartPolicy::Never,
                    "OnFailure" => RestartPolicy::OnFailure,
                    _ => RestartPolicy::Always,
                }
            }
            "deleted" => self.view.deletion = Some(Deletion { grace_seconds: 30 }),
            "rejected" => self.view.rejected = Some((name.into(), "node is full".into())),
            "was" => self.view.ended = Some(Phase::Failed),
            "gate" => drop(self.view.gates.insert(name.into(), words.contains(&"open"))),
            "init" => self.view.init.push(spec(&words)),
            "container" => self.view.main.push(spec(&words)),
            "debug" => self.view.ephemeral.push(spec(&words)),
            "now" => self.now = name.parse::<i64>().unwrap() * 1000,
            "sandbox" => self.observed.sandboxes.push(Sandbox {
                id: name.into(),
                ready: !words.contains(&"dead"),
                attempt: number(&words, "attempt") as u32,
                ips: vec!["10.0.0.7".into()],
                ..Sandbox::default()
            }),
            "runs" | "created" | "ended" => self.container(&words),
            "probe" => self.probe(&words),
            "starting" => {
                let ended = number(&words, "ended") * 1000;
                let at = number(&words, "at") * 1000;
                self.memory
                    .starting(name, &container_hash(name, "image:1"), Some(ended), at);
            }
            "pull-failed" => {
                let at = number(&words, "at") * 1000;
                self.memory.pull_failed(name, "image:1", "no such host", at);
            }
            "failed" => {
                let at = number(&words, "at") * 1000;
                self.memory
                    .failed(name, field(&words, "reason").unwrap(), "because", at);
            }
            other => panic!("unknown word {other}"),
        }
    }

    fn container(&mut self, words: &[&str]) {
        let attempt = number(words, "attempt");
        let name = words[1];
        self.observed.containers.push(Container {
            id: format!("{name}{attempt}"),
            name: name.into(),
            sandbox: field(words, "in").unwrap_or("s0").into(),
            attempt: attempt as u32,
            hash: container_hash(name, field(words, "image").unwrap_or("image:1")),
            state: match words[0] {
                "runs" => ContainerState::Running,
                "created" => ContainerState::Created,
                _ => ContainerState::Exited,
            },
            finished_at: number(words, "at") * 1000,
            exit_code: number(words, "code") as i32,
            ..Container::default()
        });
    }

    fn probe(&mut self, words: &[&str]) {
        let results = self.observed.probes.entry(words[1].into()).or_default();
        let read = |key| field(words, key).map(|value| value == "ok");
        results.startup = read("startup").or(results.startup);
        results.liveness = read("liveness").or(results.liveness);
        results.readiness = read("readiness").or(results.readiness);
    }
}

fn spec(words: &[&str]) -> ContainerSpec {
    let image = field(words, "image").unwrap_or("image:1");
    let mut spec = ContainerSpec {
        name: words[1].into(),
        image: image.into(),
        hash: container_hash(words[1], image),
        sidecar: words.contains(&"sidecar"),
        ..ContainerSpec::default()
    };
    spec.probes.startup = words.contains(&"startup");
    spec.probes.liveness = words.contains(&"liveness");
    spec.probes.readiness = words.contains(&"readiness");
    spec
}

fn render(world: &World) -> String {
    let result = plan(&world.view, &world.observed, &world.memory, world.now);
    let mut text = String::new();
    for action in &result.actions {
        let _ = match action {
            Action::CreateSandbox { attempt } => writeln!(text, "sandbox {attempt}"),
            Action::StopSandbox { id } => writeln!(text, "stop {id}"),
            Action::Start { name, attempt, .. } => writeln!(text, "start {name} {attempt}"),
            Action::Kill { id, reason, .. } => writeln!(text, "kill {id} {reason:?}"),
            Action::Remove { id } => writeln!(text, "remove {id}"),
            Action::Finish => writeln!(text, "finish"),
        };
    }
    if let Some(wake) = result.wake {
        let _ = writeln!(text, "wake {}", wake / 1000);
    }
    let status = &result.status;
    let _ = write!(text, "{:?}", status.phase);
    for condition in status
        .conditions
        .iter()
        .filter(|one| one.kind != "PodScheduled")
    {
        let short = condition
            .kind
            .chars()
            .filter(|c| c.is_uppercase())
            .collect::<String>();
        let sign = if condition.holds { '+' } else { '-' };
        let _ = write!(text, " {sign}{short}");
        if !condition.reason.is_empty() {
            let _ = write!(text, "({})", condition.reason);
        }
    }
    text.push('\n');
    for one in status
        .init
        .iter()
        .chain(&status.main)
        .chain(&status.ephemeral)
    {
        let state = match &one.state {
            State::Waiting { reason, message } => format!("{reason} {message}"),
            State::Running { .. } => "running".into(),
            State::Terminated(end) => format!("{} {}", end.reason, end.exit_code),
        };
        let _ = write!(
            text,
            "{}: {} restarts={}",
            one.name,
            state.trim(),
            one.restarts
        );
        let flags = [(one.ready, " ready"), (one.started, " started")];
        flags
            .iter()
            .filter(|(on, _)| *on)
            .for_each(|(_, word)| text.push_str(word));
        if let Some(last) = &one.last {
            let _ = write!(text, " last={}", last.exit_code);
        }
        text.push('\n');
    }
    text
}

#[test]
fn cases() {
    let mut wrong = String::new();
    for case in include_str!("cases/pods.txt").split("\n====") {
        let (title, rest) = case
            .trim_start_matches('=')
            .trim()
            .split_once('\n')
            .unwrap();
        let (given, expected) = rest.split_once("----\n").unwrap_or((rest, ""));
        let mut world = World {
            now: 100_000,
            ..World::default()
        };
        world.view.label = "p_default(u)".into();
        given
            .lines()
            .filter(|line| !line.trim().is_empty())
            .for_each(|line| world.line(line));
        let got = render(&world);
        if got.trim() != expected.trim() {
            let _ = writeln!(wrong, "==== {title}\n{given}----\n{got}");
        }
    }
    assert!(
        wrong.is_empty(),
        "these cases differ; what was planned:\n{wrong}"
    );
}
