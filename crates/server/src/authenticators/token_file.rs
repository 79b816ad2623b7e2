//! Tokens of a file. Upstream: `--token-auth-file`, `authentication/token/tokenfile`.

use std::{collections::HashMap, path::Path};

use sha2::{Digest as _, Sha256};

use crate::auth::{TokenAuthenticator, TokenError, TokenFuture, TokenInfo, User, known};

/// Knows the tokens of a CSV file: token, user name, user UID, and groups in one quoted column.
pub(super) struct TokenFile(HashMap<[u8; 32], User>);

impl std::fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenFile({} tokens)", self.0.len())
    }
}

/// What is looked up: finding it takes a time that says nothing about the token.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl TokenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it. The text has no token.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(text);
        let mut users = HashMap::new();
        for (index, row) in reader.records().enumerate() {
            let place = index + 1;
            let row = row.map_err(|error| format!("row {place}: {error}"))?;
            if row.len() < 3 {
                return Err(format!(
                    "row {place} must have at least 3 columns (token, user name, user uid), found {}",
                    row.len()
                ));
            }
            let column = |index: usize| row.get(index).unwrap_or_default();
            if column(0).is_empty() || column(1).is_empty() {
                return Err(format!("row {place} has an empty token or user name"));
            }
            let groups = column(3).split(',').map(str::trim);
            let groups: Vec<String> = groups
                .filter(|group| !group.is_empty())
                .map(str::to_owned)
                .collect();
            let user = User {
                uid: column(2).to_owned(),
                ..User::known(column(1), &groups)
            };
            if users.insert(hash(column(0)), user).is_some() {
                return Err(format!("row {place} has the token of an earlier row"));
            }
        }
        Ok(Self(users))
    }
}

impl TokenAuthenticator for TokenFile {
    fn authenticate_token<'a>(&'a self, token: &'a str, _: &'a [String]) -> TokenFuture<'a> {
        let user = self.0.get(&hash(token)).cloned();
        known(user.ok_or(TokenError::Unknown).map(|user| TokenInfo {
            user,
            audiences: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_name_users_with_groups() {
        let text = b"# our people\nt-1,bob,u-1,\"dev,ops\"\n t-2 , eve, u-2\n";
        let file = TokenFile::parse(text).unwrap();
        let user = async |token: &str| {
            let found = file.authenticate_token(token, &[]).await;
            found
                .ok()
                .map(|info| (info.user.name, info.user.uid, info.user.groups.join(" ")))
        };
        let expected = |name: &str, uid: &str, groups: &str| {
            Some((name.to_owned(), uid.to_owned(), groups.to_owned()))
        };
        assert_eq!(
            user("t-1").await,
            expected("bob", "u-1", "dev ops system:authenticated")
        );
        assert_eq!(
            user("t-2").await,
            expected("eve", "u-2", "system:authenticated")
        );
        assert_eq!(user("t-3").await, None);
        assert_eq!(user("").await, None);
    }

    #[test]
    fn a_faulty_row_is_named_without_its_token() {
        let table = [
            (
                "secret,bob",
                "row 1 must have at least 3 columns (token, user name, user uid), found 2",
            ),
            (
                "secret,bob,1\nsecret,eve,2",
                "row 2 has the token of an earlier row",
            ),
            (",bob,1", "row 1 has an empty token or user name"),
        ];
        for (text, expected) in table {
            let error = TokenFile::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.contains("secret"));
        }
    }
}
