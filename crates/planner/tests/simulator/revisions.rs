//! Revision data and revision names, written down a second time after `docs/design/daemonset.md`
//! and upstream's `pkg/controller/history` (`ControllerRevisionName`, `HashControllerRevision`).

use serde_json::Value;

/// Two templates are equal if these texts are: keys in order, without what only a stored template
/// has (`$patch`, and the `creationTimestamp: null` that Go writes).
pub(crate) fn data_text(template: &Value) -> String {
    match template {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.retain(|key| {
                let stored_only = *key == "$patch"
                    || (*key == "creationTimestamp" && fields[*key] == Value::Null);
                !stored_only
            });
            keys.sort();
            let pairs: Vec<String> = keys
                .iter()
                .map(|key| {
                    let name = Value::String((*key).clone());
                    format!("{name}:{}", data_text(&fields[*key]))
                })
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(data_text).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

/// The hash of a template: FNV-1a (32 bits) of its text and of the collision count, each decimal
/// digit replaced by a letter without vowels (`rand.SafeEncodeString`).
pub(crate) fn hash(data: &str, collisions: Option<i64>) -> String {
    let salt = collisions.map_or_else(String::new, |count| count.to_string());
    let mut sum: u32 = 2_166_136_261;
    for byte in data.bytes().chain(salt.bytes()) {
        sum = (sum ^ u32::from(byte)).wrapping_mul(16_777_619);
    }
    // `SafeEncodeString` takes the byte of each digit modulo the length of the alphabet.
    let alphabet: Vec<char> = "bcdfghjklmnpqrstvwxz2456789".chars().collect();
    let letter = |digit: u8| alphabet[usize::from(digit) % alphabet.len()];
    sum.to_string().bytes().map(letter).collect()
}
