//! What may be meant otherwise in an access file that can be used.

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Timestamp;

use super::{Identity, Rules};

/// Tokens that end within this are told of.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// Somebody who is worth nothing, or soon will be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// A token has come to its end.
    #[error("the token {name} expired at {}", humantime::format_rfc3339_seconds((*.end).into()))]
    Expired {
        /// Whose it is.
        name: Arc<str>,
        /// When that was.
        end: Timestamp,
    },
    /// A token comes to its end within a week.
    #[error("the token {name} ends soon, at {}", humantime::format_rfc3339_seconds((*.end).into()))]
    EndsSoon {
        /// Whose it is.
        name: Arc<str>,
        /// When that is.
        end: Timestamp,
    },
    /// A token or a certificate has no role anywhere.
    #[error("{0} may do nothing, as it has no role")]
    Powerless(Arc<str>),
    /// A certificate is asked for by nobody.
    #[error(
        "the certificate {0} counts for nothing, as the server has no authority for clients (--client-ca)"
    )]
    NeverAsked(Arc<str>),
}

/// All doubts about rules, as of `now`. `knows_clients` says whether clients are asked for certificates.
pub fn doubts(rules: &Rules, knows_clients: bool, now: Timestamp) -> Vec<Doubt> {
    let ends = rules.tokens.iter().filter_map(|token| {
        let (name, end) = (Arc::clone(token.identity.name()), token.expires?);
        match end {
            end if end <= now => Some(Doubt::Expired { name, end }),
            end if end < now.plus(SOON) => Some(Doubt::EndsSoon { name, end }),
            _ => None,
        }
    });
    let known = rules.tokens.iter().map(|token| &token.identity).chain(rules.certificates.values());
    let powerless = known.filter(|identity| !identity.may_do_something());
    let powerless = powerless.map(|identity: &Identity| Doubt::Powerless(Arc::clone(identity.name())));
    let unasked = rules.certificates.values().filter(|_| !knows_clients);
    let unasked = unasked.map(|identity| Doubt::NeverAsked(Arc::clone(identity.name())));
    ends.chain(powerless).chain(unasked).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Outside, read};
    use super::*;

    #[test]
    fn who_is_worth_nothing_or_soon_will_be_is_told_of() {
        let token = |name: &str, rest: &str| {
            format!("[tokens.{name}]\nsecret = \"secret of {name}, which is long\"\n{rest}\n")
        };
        let text = [
            token("good", "role = \"read\""),
            token("gone", "role = \"read\"\nexpires = 2027-01-01"),
            token("late", "role = \"read\"\nexpires = 2027-01-08"),
            token("later", "role = \"read\"\nexpires = 2027-01-09"),
            token("idle", ""),
            token("near", "scopes = { main = \"read\" }"),
            "[certificates.host]\n".to_owned(),
        ];
        let outside = Outside { variable: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
        let rules = read(Path::new("access.toml"), &text.concat(), outside).unwrap();
        let now = humantime::parse_rfc3339("2027-01-01T12:00:00Z").unwrap().into();
        let told =
            |knows_clients| doubts(&rules, knows_clients, now).iter().map(ToString::to_string).collect();
        let mut all: Vec<String> = told(true);
        assert_eq!(
            all,
            [
                "the token gone expired at 2027-01-01T00:00:00Z",
                "the token late ends soon, at 2027-01-08T00:00:00Z",
                "idle may do nothing, as it has no role",
                "host may do nothing, as it has no role",
            ]
        );
        all.push(
            "the certificate host counts for nothing, as the server has no authority for clients (--client-ca)"
                .to_owned(),
        );
        assert_eq!(told(false), all);
    }
}
