//! What each party may do. Every cell of `rights/table.txt` is a request over TLS with real
//! credentials.

#[path = "rights/parties.rs"]
mod parties;
#[path = "rights/requests.rs"]
mod requests;

use std::fmt::Write as _;

use futures::future::join_all;

use self::{parties::Parties, requests::Action};

const TABLE: &str = include_str!("rights/table.txt");

/// A row as the table writes it.
fn row(verb: &str, path: &str, names: &[&str], cells: &[String]) -> String {
    let mut row = format!("{verb:<16} {path:<78}");
    for (name, cell) in names.iter().zip(cells) {
        let width = name.len();
        let _written = write!(row, " {cell:<width$}");
    }
    row.trim_end().to_owned()
}

#[tokio::test]
async fn every_party_may_do_what_the_table_says() {
    let parties = Parties::new().await;
    let names: Vec<&str> = parties.all.iter().map(|party| party.name).collect();
    let heads: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (mut rows, mut diff) = (0, String::new());
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (verb, path) = (words.next().unwrap(), words.next().unwrap());
        let expected: Vec<String> = words.map(str::to_owned).collect();
        let found = match verb {
            // The head of the table.
            "verb" => heads.clone(),
            _ => {
                rows += 1;
                let action = Action::new(&parties.server, verb, path).await;
                join_all(parties.all.iter().map(|party| action.ask_as(party))).await
            }
        };
        if found != expected {
            let expected = row(verb, path, &names, &expected);
            let found = row(verb, path, &names, &found);
            let _written = write!(diff, "-{expected}\n+{found}\n");
        }
    }
    assert!(rows > 100, "only {rows} requests");
    let head = row("verb", "path", &names, &heads);
    assert!(
        diff.is_empty(),
        "rights/table.txt (-) and the server (+) differ:\n {head}\n{diff}"
    );
}
