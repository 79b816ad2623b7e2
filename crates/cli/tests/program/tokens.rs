//! `pandaemon token`.

use std::path::Path;

use crate::process::{program, start_server};

/// Standard output of a command that succeeds.
fn output(kubeconfig: &Path, args: &[&str]) -> String {
    let mut command = program();
    command
        .arg("token")
        .args(args)
        .env("KUBECONFIG", kubeconfig);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_created_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_server(folder.path());
    let run = |args: &[&str]| output(Path::new(server.kubeconfig()), args);
    let token = run(&[
        "create",
        "--node",
        "n1",
        "--ttl",
        "2h",
        "--description",
        "rack 4",
    ]);
    let parts: Vec<&str> = token.trim().split('.').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [64, 6, 16]
    );
    let list = run(&["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with(parts[1]), "{list}");
    assert!(lines[1].contains("n1") && lines[1].ends_with("rack 4") && !list.contains(parts[2]));
    run(&["revoke", parts[1]]);
    assert_eq!(run(&["list"]).lines().count(), 1);
    let again = program()
        .args(["token", "revoke", parts[1], "--kubeconfig"])
        .arg(server.kubeconfig())
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
}
