//! `pandaemon token`: the tokens with which machines join as nodes.
//!
//! They are upstream's bootstrap tokens: Secrets in `kube-system`, which the API server knows.

use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use pandaemon_client::{connect, rest::Rest};
use pandaemon_types::{hash::hex, time::rfc3339_seconds};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    args::{ClusterArgs, CreateTokenArgs, RevokeTokenArgs, TokenCommand},
    progress::{print_result, print_status},
    table,
};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// What precedes the ID in the name of a Secret.
const PREFIX: &str = "bootstrap-token-";
/// Lengths of the ID and of the secret, as the API server wants them.
const ID: usize = 6;
const SECRET: usize = 16;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Runs one of the commands.
pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => list(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

async fn config(args: &ClusterArgs) -> anyhow::Result<kube::Config> {
    connect::config(Some(&args.kubeconfig), None).await
}

async fn create(args: CreateTokenArgs) -> anyhow::Result<()> {
    let config = config(&args.cluster).await?;
    let roots = config.root_cert.as_deref().unwrap_or_default();
    let ca = roots.first().with_context(|| {
        let file = args.cluster.kubeconfig.display();
        format!("the kubeconfig {file} names no CA, whose hash is a part of the token")
    })?;
    let hash = hex(&Sha256::digest(ca));
    let (id, secret) = (random_word(ID), random_word(SECRET));
    let object = object(&id, &secret, &args, Timestamp::now());
    let rest = Rest::new(connect::direct(config)?);
    rest.create::<Value>(SECRETS, &object)
        .await
        .context("create the token")?;
    print_result(&format!("{hash}.{id}.{secret}"));
    Ok(())
}

/// The Secret of a token.
fn object(id: &str, secret: &str, args: &CreateTokenArgs, now: Timestamp) -> Value {
    let mut data = json!({
        "token-id": id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
    });
    if args.ttl > Duration::ZERO {
        let ttl = SignedDuration::try_from(args.ttl).unwrap_or(SignedDuration::MAX);
        let end = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        data["expiration"] = rfc3339_seconds(end).into();
    }
    if let Some(node) = &args.node {
        data["node-name"] = node.as_str().into();
    }
    if !args.description.is_empty() {
        data["description"] = args.description.as_str().into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": format!("{PREFIX}{id}"), "namespace": "kube-system"},
        "stringData": data,
    })
}

/// Lower case letters and digits, each as likely as any other.
fn random_word(length: usize) -> String {
    let mut word = String::new();
    while word.len() < length {
        // Two bytes of a UUID have fixed bits.
        let bytes = uuid::Uuid::new_v4().into_bytes();
        let random = bytes.iter().enumerate();
        let random = random.filter(|(at, _)| !matches!(at, 6 | 8));
        // Of the 256 values of a byte 252 are a multiple of the 36 characters.
        let even = random
            .map(|(_, byte)| usize::from(*byte))
            .filter(|byte| *byte < 252);
        let missing = length - word.len();
        word.extend(
            even.take(missing)
                .map(|byte| char::from(ALPHABET[byte % 36])),
        );
    }
    word
}

async fn list(args: ClusterArgs) -> anyhow::Result<()> {
    let rest = Rest::new(connect::direct(config(&args).await?)?);
    let path = format!(
        "{SECRETS}?fieldSelector=type%3D{}",
        TYPE.replace('/', "%2F")
    );
    let list: Option<Value> = rest.get(&path).await.context("list the tokens")?;
    let secrets = list.unwrap_or_default();
    let secrets = secrets["items"].as_array().cloned().unwrap_or_default();
    for line in table(&secrets, Timestamp::now()) {
        print_result(&line);
    }
    Ok(())
}

/// The lines of the list.
fn table(secrets: &[Value], now: Timestamp) -> Vec<String> {
    let rows: Vec<[String; 5]> = secrets.iter().map(|secret| row(secret, now)).collect();
    table::lines(["ID", "NODE", "TTL", "EXPIRES", "DESCRIPTION"], &rows)
}

fn row(secret: &Value, now: Timestamp) -> [String; 5] {
    let field = |key: &str| {
        let text = secret["data"][key].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(text).unwrap_or_default();
        // A description may have control characters, which a terminal would obey.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.replace(char::is_control, " ")
    };
    let or = |text: String, other: &str| match &*text {
        "" => other.to_owned(),
        _ => text,
    };
    let expires = field("expiration");
    let ttl = match expires.parse::<Timestamp>() {
        Ok(end) => short(end.duration_since(now)),
        Err(_) => or(expires.clone(), "<forever>"),
    };
    [
        field("token-id"),
        or(field("node-name"), "<any>"),
        ttl,
        or(expires, "<never>"),
        or(field("description"), "<none>"),
    ]
}

/// The two largest units of a duration, such as `23h59m`.
fn short(left: SignedDuration) -> String {
    let seconds = left.as_secs();
    match seconds {
        ..=0 => "<expired>".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

async fn revoke(args: RevokeTokenArgs) -> anyhow::Result<()> {
    // Who pastes the whole token means its ID.
    let id = args.id.split('.').find(|part| part.len() == ID);
    let id = id.unwrap_or(&args.id);
    let is_id = id.len() == ID && id.bytes().all(|byte| ALPHABET.contains(&byte));
    if !is_id {
        bail!(
            "{id:?} is not the ID of a token: six lower case letters and digits, as `pandaemon token list` shows"
        );
    }
    let rest = Rest::new(connect::direct(config(&args.cluster).await?)?);
    let path = format!("{SECRETS}/{PREFIX}{id}");
    match rest.delete(&path, &json!({})).await {
        Ok(true) => print_status(&format!("  ok  The token {id} is revoked")),
        Ok(false) => bail!("there is no token {id}; `pandaemon token list` shows them"),
        Err(error) => return Err(error).context("revoke the token"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_tokens_are_words_that_differ() {
        let words: std::collections::BTreeSet<String> =
            (0..1000).map(|_| random_word(SECRET)).collect();
        assert_eq!(words.len(), 1000);
        for word in words {
            assert!(word.len() == SECRET && word.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn the_list_shows_no_secrets() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let secret = |data: &[(&str, &str)]| {
            let data = data
                .iter()
                .map(|(key, text)| ((*key).to_owned(), Value::from(STANDARD.encode(text))));
            json!({"data": data.collect::<serde_json::Map<_, _>>()})
        };
        let secrets = [
            secret(&[
                ("token-id", "abcdef"),
                ("token-secret", "hidden"),
                ("node-name", "n1"),
                ("expiration", "2026-01-01T01:01:05Z"),
                ("description", "rack\u{1b}4"),
            ]),
            secret(&[("token-id", "fedcba")]),
        ];
        let expected = [
            "ID       NODE    TTL         EXPIRES                DESCRIPTION",
            "abcdef   n1      1h1m        2026-01-01T01:01:05Z   rack 4",
            "fedcba   <any>   <forever>   <never>                <none>",
        ];
        assert_eq!(table(&secrets, now), expected);
    }
}
