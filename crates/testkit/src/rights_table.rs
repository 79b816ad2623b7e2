//! Tables of what parties may do: a row is a request, a column is a party, a cell is the answer.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::fmt::Write as _;

use futures::future::join_all;
use http::{HeaderValue, Request, header};
use kube::Client;

use crate::parties::Party;

/// Sends the request of each row as each party, and returns the number of rows. `request` makes it
/// from the first two words of a row: a verb and a path. The row `verb path` is the head.
///
/// # Panics
/// When an answer differs from its cell: with all rows that differ, as the table would have them.
pub async fn check(
    table: &str,
    parties: &[Party],
    config: &kube::Config,
    mut request: impl AsyncFnMut(&str, &str) -> Request<Vec<u8>>,
) -> usize {
    let names: Vec<&str> = parties.iter().map(|party| party.name).collect();
    let heads: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let clients: Vec<Client> = parties.iter().map(|one| one.client(config)).collect();
    let (mut rows, mut diff) = (0, String::new());
    for line in table.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (verb, path) = (words.next().unwrap(), words.next().unwrap());
        let expected: Vec<String> = words.map(str::to_owned).collect();
        let found = if (verb, path) == ("verb", "path") {
            heads.clone()
        } else {
            rows += 1;
            let request = request(verb, path).await;
            join_all(clients.iter().map(|client| cell(client, &request))).await
        };
        if found != expected {
            let expected = row(verb, path, &names, &expected);
            let found = row(verb, path, &names, &found);
            let _written = write!(diff, "-{expected}\n+{found}\n");
        }
    }
    let head = row("verb", "path", &names, &heads);
    if !diff.is_empty() {
        panic!("the table (-) and the server (+) differ:\n {head}\n{diff}");
    }
    rows
}

/// A row as the table writes it.
fn row(verb: &str, path: &str, names: &[&str], cells: &[String]) -> String {
    let mut row = format!("{verb:<16} {path:<78}");
    for (name, cell) in names.iter().zip(cells) {
        let width = name.len();
        let _written = write!(row, " {cell:<width$}");
    }
    row.trim_end().to_owned()
}

/// What the party with this client gets. A connection for each request, so that each is about the
/// credentials, not about what a connection is known for.
async fn cell(client: &Client, request: &Request<Vec<u8>>) -> String {
    let (mut head, body) = request.clone().into_parts();
    let close = HeaderValue::from_static("close");
    head.headers.entry(header::CONNECTION).or_insert(close);
    let request = Request::from_parts(head, body.into());
    // TLS 1.3: the client learns with its first read that its certificate was refused.
    match client.send(request).await.map(|answer| answer.status()) {
        Ok(status) if status.is_success() => "ok".into(),
        Ok(status) => status.as_u16().to_string(),
        Err(_) => "tls".into(),
    }
}
