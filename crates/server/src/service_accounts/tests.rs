//! Signatures: what is accepted.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::service_account::user_name;

fn issuer() -> (tempfile::TempDir, TokenIssuer) {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("pki")).unwrap();
    let keys = ServiceAccountKeys::open(data.path(), Timestamp::now()).unwrap();
    (
        data,
        TokenIssuer::new(keys, ServiceAccountOptions::default()),
    )
}

fn claims() -> Claims {
    Claims {
        aud: vec!["api".into()],
        exp: Some(4_000_000_000),
        iss: DEFAULT_ISSUER.into(),
        sub: user_name("d", "builder"),
        ..Claims::default()
    }
}

fn changed(token: &str, at: usize, with: u8) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = with;
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_altered_token_is_accepted(at in 0_usize..1000, with: u8, cut in 0_usize..1000) {
        thread_local!(static ISSUER: (tempfile::TempDir, TokenIssuer) = issuer());
        ISSUER.with(|(_, issuer)| {
            let token = issuer.sign(&claims(), Timestamp::now()).unwrap();
            // From the cache, too.
            for _ in 0..2 {
                assert_eq!(*issuer.verify(&token).unwrap(), claims());
            }
            let shorter = &token[..cut % token.len()];
            for other in [changed(&token, at, with), shorter.to_owned(), format!("{token}A")] {
                assert!(other == token || issuer.verify(&other).is_err(), "{other}");
            }
        });
    }
}

#[test]
fn tokens_of_other_kinds_and_keys_are_refused() {
    let (_data, issuer) = issuer();
    let (_other_data, other) = self::issuer();
    let good = issuer.sign(&claims(), Timestamp::now()).unwrap();
    let (payload, signature) = good.split_once('.').unwrap().1.split_once('.').unwrap();
    let with_header = |header: serde_json::Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{payload}.{signature}")
    };
    let id = issuer.keys.all()[0].id.clone();
    let foreign = Claims {
        iss: "https://other.example".into(),
        ..claims()
    };
    let table = [
        ("", Err("unknown")),
        ("garbage", Err("unknown")),
        ("a.b.c", Err("unknown")),
        (good.as_str(), Ok(())),
        (&with_header(json!({"alg": "none"})), Err("unknown")),
        (
            &with_header(json!({"alg": "HS256", "kid": id})),
            Err("invalid signature"),
        ),
        (
            &with_header(json!({"alg": "ES256"})),
            Err("invalid signature"),
        ),
        (
            &other.sign(&claims(), Timestamp::now()).unwrap(),
            Err("invalid signature, no keys found"),
        ),
        (
            &issuer.sign(&foreign, Timestamp::now()).unwrap(),
            Err("unknown"),
        ),
    ];
    for (token, expected) in table {
        let found = issuer
            .verify(token)
            .map(|_| ())
            .map_err(|error| match error {
                TokenError::Unknown => "unknown".to_owned(),
                TokenError::Invalid(why) => why,
            });
        assert_eq!(found, expected.map_err(str::to_owned), "{token}");
    }
}

/// As other services do it: by the published key set.
#[test]
fn the_published_keys_verify_tokens() {
    let (_data, issuer) = issuer();
    let token = issuer.sign(&claims(), Timestamp::now()).unwrap();
    let set = openid::key_set(&issuer);
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = set.find(&header.kid.unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["api"]);
    validation.set_issuer(&[DEFAULT_ISSUER]);
    let verified = jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap();
    assert_eq!(verified.claims, claims());
    let configuration = openid::configuration(&issuer, "api.example:6443");
    assert_eq!(
        configuration["jwks_uri"],
        "https://api.example:6443/openid/v1/jwks"
    );
}

#[test]
fn a_token_is_refused_when_its_key_is_gone() {
    let (_data, issuer) = issuer();
    let now = Timestamp::now();
    let claims = Claims {
        exp: Some(now.as_second()),
        ..claims()
    };
    let token = issuer.sign(&claims, now).unwrap();
    let later = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
    issuer.keys.rotate(later(90)).unwrap();
    assert!(issuer.verify(&token).is_ok());
    issuer.keys.rotate(later(91)).unwrap();
    let why = TokenError::Invalid("invalid signature, no keys found".into());
    assert_eq!(issuer.verify(&token), Err(why));
}
