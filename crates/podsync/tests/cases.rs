//! Text cases: desired and observed state above the line, the computed actions and status below it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken case must fail loudly"
)]

use std::fmt::Write as _;

use pandaemon_podsync::{
    BackoffState, Container, ContainerSpec, ContainerState, Deletion, DesiredPod, ObservedPod,
    PodAction, RestartPolicy, Sandbox, StateStatus, compute_pod_actions, container_hash,
};
use pandaemon_types::Phase;

#[derive(Default)]
struct Case {
    pod: DesiredPod,
    observed: ObservedPod,
    backoff: BackoffState,
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

impl Case {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.get(1).copied().unwrap_or_default();
        match words[0] {
            "policy" => {
                self.pod.restart_policy = match name {
                    "Never" => RestartPolicy::Never,
                    "OnFailure" => RestartPolicy::OnFailure,
                    _ => RestartPolicy::Always,
                }
            }
            "deleted" => self.pod.deletion = Some(Deletion { grace_seconds: 30 }),
            "rejected" => self.pod.rejected = Some((name.into(), "node is full".into())),
            "was" => self.pod.ended = Some(Phase::Failed),
            "gate" => drop(self.pod.gates.insert(name.into(), words.contains(&"open"))),
            "init" => self.pod.init.push(spec(&words)),
            "container" => self.pod.main.push(spec(&words)),
            "debug" => self.pod.ephemeral.push(spec(&words)),
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
                self.backoff
                    .record_start(name, &container_hash(name, "image:1"), Some(ended), at);
            }
            "pull-failed" => {
                let at = number(&words, "at") * 1000;
                self.backoff
                    .record_pull_failure(name, "image:1", "no such host", at);
            }
            "failed" => {
                let at = number(&words, "at") * 1000;
                self.backoff
                    .record_failure(name, field(&words, "reason").unwrap(), "because", at);
            }
            other => panic!("unknown keyword {other}"),
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

fn render(case: &Case) -> String {
    let result = compute_pod_actions(&case.pod, &case.observed, &case.backoff, case.now);
    let mut text = String::new();
    for action in &result.actions {
        let _ = match action {
            PodAction::CreateSandbox { attempt } => writeln!(text, "sandbox {attempt}"),
            PodAction::StopSandbox { id } => writeln!(text, "stop {id}"),
            PodAction::StartContainer { name, attempt, .. } => {
                writeln!(text, "start {name} {attempt}")
            }
            PodAction::KillContainer { id, reason, .. } => writeln!(text, "kill {id} {reason:?}"),
            PodAction::RemoveContainer { id } => writeln!(text, "remove {id}"),
            PodAction::CleanUp => writeln!(text, "clean-up"),
        };
    }
    if let Some(wake) = result.wake_at {
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
            StateStatus::Waiting { reason, message } => format!("{reason} {message}"),
            StateStatus::Running { .. } => "running".into(),
            StateStatus::Terminated(end) => format!("{} {}", end.reason, end.exit_code),
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
fn actions_and_status_of_each_case() {
    let mut wrong = String::new();
    for case in include_str!("cases/pods.txt").split("\n====") {
        let (title, rest) = case
            .trim_start_matches('=')
            .trim()
            .split_once('\n')
            .unwrap();
        let (given, expected) = rest.split_once("----\n").unwrap_or((rest, ""));
        let mut state = Case {
            now: 100_000,
            ..Case::default()
        };
        state.pod.label = "p_default(u)".into();
        given
            .lines()
            .filter(|line| !line.trim().is_empty())
            .for_each(|line| state.line(line));
        let got = render(&state);
        if got.trim() != expected.trim() {
            let _ = writeln!(wrong, "==== {title}\n{given}----\n{got}");
        }
    }
    assert!(
        wrong.is_empty(),
        "these cases differ; computed was:\n{wrong}"
    );
}
