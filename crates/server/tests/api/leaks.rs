//! What never gets into logs and `Debug` forms: tokens, keys, the values of Secrets.

use std::sync::Arc;

use pandaemon_server::{AuthenticationOptions, storage_prefix};
use pandaemon_store::{
    Embedded, Options,
    encryption::{EncryptedStore, Encryption, Settings},
};
use pandaemon_testkit::{
    ServerOptions,
    leaks::{CapturedLog, Hidden},
};
use serde_json::{Value, json};

use crate::{
    audit::audit_config,
    harness::Server,
    join::{join, token},
    wire::{ask, connect},
};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const TOKENS: &str = "/api/v1/namespaces/kube-system/secrets";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const FILE_TOKEN: &str = "marker-of-the-token-file";

/// A server that encrypts Secrets, has a token file and audits everything.
async fn start(dir: &std::path::Path) -> Server {
    let settings = Settings {
        key_file: dir.join("encryption-keys"),
        prefixes: vec![storage_prefix("secrets").unwrap()],
        keeps_encrypted: false,
        deletes_lost: false,
    };
    let inner = Arc::new(Embedded::open(dir.join("store"), Options::default()).unwrap());
    let encryption = Encryption::read(settings).unwrap();
    let store = EncryptedStore::open(inner, encryption, true, &|_, _| {}).await;
    let policy = dir.join("policy.yaml");
    let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
    std::fs::write(&policy, text).unwrap();
    let tokens = dir.join("tokens.csv");
    std::fs::write(&tokens, format!("{FILE_TOKEN},jane,1\n")).unwrap();
    let options = ServerOptions {
        encryption: Some(Arc::new(store.unwrap())),
        authentication: AuthenticationOptions {
            token_file: Some(tokens),
            ..AuthenticationOptions::default()
        },
        audit: audit_config(&dir.join("audit.log"), Some(&policy)),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// Adds the private keys and tokens in the files of this directory.
fn add_files(hidden: &mut Hidden, dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name == "pki" {
            add_files(hidden, &path);
        }
        let is_key = name.ends_with(".key")
            || [
                "token",
                "admin-token",
                "encryption-keys",
                "service-account-keys.json",
            ]
            .contains(&&*name);
        if !is_key {
            continue;
        }
        // Each long word: the lines of a PEM, the keys in JSON.
        let text = std::fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/_-=".contains(c)));
        let words: Vec<_> = words.filter(|word| word.len() >= 32).collect();
        assert!(!words.is_empty(), "{name} has no key");
        for word in words {
            hidden.add_word(&name, word);
        }
    }
}

async fn send(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> u16 {
    ask(&mut connect(server, None).await, method, path, token, body)
        .await
        .0
}

/// Writes Secrets, also such that are refused.
async fn write_secrets(server: &Server, hidden: &mut Hidden) {
    let values = [
        "marker-of-create",
        "marker-of-update",
        "marker-of-patch",
        "marker-of-apply",
        "marker-refused",
    ];
    for value in values {
        hidden.add(value, value);
    }
    let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": value}});
    let one = &format!("{SECRETS}/s");
    let refused = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "data": {"k": "%marker-refused"}});
    let text = json!({"stringData": {"k": "marker-of-patch"}});
    let immutable = json!({"immutable": "marker-refused"});
    let table = [
        (
            "POST",
            SECRETS,
            "application/json",
            secret("marker-of-create"),
            201,
        ),
        (
            "POST",
            SECRETS,
            "application/json",
            secret("marker-refused"),
            409,
        ),
        ("POST", SECRETS, "application/json", refused, 400),
        (
            "PUT",
            one,
            "application/json",
            secret("marker-of-update"),
            200,
        ),
        ("PATCH", one, "application/merge-patch+json", text, 200),
        (
            "PATCH",
            one,
            "application/strategic-merge-patch+json",
            immutable,
            422,
        ),
        (
            "PATCH",
            &format!("{one}?fieldManager=m&force=true"),
            "application/apply-patch+yaml",
            secret("marker-of-apply"),
            200,
        ),
        ("GET", SECRETS, "", Value::Null, 200),
    ];
    for (method, path, form, body, expected) in table {
        let (code, answer) = server.send(method, path, form, &body).await;
        assert_eq!(code, expected, "{method} {path}: {answer}");
    }
}

/// Logs in with good and bad tokens of all kinds, and has some reviewed.
async fn use_tokens(server: &Server, hidden: &mut Hidden) {
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, made) = server.post(&format!("{ACCOUNT}/token"), &request).await;
    assert_eq!(code, 201, "{made}");
    let issued = made["status"]["token"].as_str().unwrap().to_owned();
    let bootstrap = "abcdef.marker0bootstrap";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "stringData": {
            "token-id": "abcdef", "token-secret": "marker0bootstrap", "usage-bootstrap-authentication": "true",
        },
    });
    assert_eq!(server.post(TOKENS, &secret).await.0, 201);
    let admin = server.running().admin_token();
    let broken = format!("{}x", &issued[..issued.len() - 1]);
    for (name, token, expected) in [
        ("the token of an account", &*issued, 403),
        ("the token of an account, altered", &broken, 401),
        ("a bootstrap token", bootstrap, 403),
        ("a wrong bootstrap token", "abcdef.marker1bootstrap", 401),
        ("the administrator's token", &admin, 200),
        ("a token of the token file", FILE_TOKEN, 403),
        ("an unknown token", "marker-of-no-one", 401),
        ("a wrong join token", &format!("{}x", token(server)), 401),
    ] {
        hidden.add(name, token);
        let code = send(server, token, "GET", "/api/v1/nodes", &Value::Null).await;
        assert_eq!(code, expected, "{name}");
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        assert_eq!(server.post(path, &review).await.0, 201);
    }
    // The signature alone is as good as the token for who knows the claims.
    hidden.add(
        "the signature of a token",
        issued.rsplit('.').next().unwrap(),
    );
    hidden.add("the secret of a bootstrap token", "marker0bootstrap");
    for (name, with) in [("n1", bootstrap.to_owned()), ("n2", token(server))] {
        let secret = &format!("marker-of-machine-{name}");
        hidden.add("the secret of a machine", secret);
        let joined = join(server, name, secret, &with).await.ok().unwrap();
        for word in joined.key.lines().filter(|line| line.len() >= 32) {
            hidden.add_word("the key of a node", word);
        }
    }
    assert!(
        join(server, "n3", "marker-of-machine-n3", "marker-of-no-one")
            .await
            .is_err()
    );
    hidden.add("the secret of a machine", "marker-of-machine-n3");
}

#[tokio::test]
async fn no_token_key_or_secret_is_logged_at_any_level() {
    let log = CapturedLog::start();
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path()).await;
    server.create_service_account().await;
    let mut hidden = Hidden::default();
    write_secrets(&server, &mut hidden).await;
    use_tokens(&server, &mut hidden).await;
    let rotate = server.send("POST", "/pandaemon/v1/rotate-keys", "", &Value::Null);
    assert_eq!(rotate.await.0, 200);
    for dir in [server.data_dir(), dir.path()] {
        add_files(&mut hidden, dir);
    }
    hidden.check(
        "the Debug form of the server",
        &format!("{server:?}", server = *server),
    );
    server.stop().await;
    let text = log.text();
    assert!(
        text.contains("serving the API") && text.contains("TRACE"),
        "no log was recorded"
    );
    hidden.check("the log", &text);
    let audit = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    assert!(
        audit.contains("/api/v1/namespaces/default/secrets"),
        "{audit}"
    );
    hidden.check("the audit log", &audit);
}
