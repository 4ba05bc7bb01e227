//! Access keys: which one requests are signed with, and the next one before it ends.
//!
//! | in this order | a key is there where |
//! |---|---|
//! | the surroundings | they have one |
//! | a token service (STS) | they name a role, and a file with a token that says who this is (web identity) |
//! | files that the tools for AWS share | the profile is in them |
//! | the container | they name the URL at which it has keys |
//! | the instance | it has a role (instance metadata, version 2) |
//!
//! The first that is there is asked, and where it fails no other is: so nobody writes under another name than they
//! think. Whether a profile has one is seen anew each time.
//!
//! A key that ends is replaced beside the requests, which go on with it while it holds, also where no other is to be
//! had. Only where there is none do they wait. Whoever asks for a key is a task of its own, as a caller that is out of
//! patience must not end it: the next one would begin again and not get further.
//!
//! Invariant: of one tier, one question for a key is under way at a time, and it has an end.

mod ask;
mod container;
mod instance;
mod profile;
mod role;

use std::fmt;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use larder::clock::{Clock, Instant, Timestamp};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::ask::{Given, Why};
pub use self::container::{Container, ContainerToken};
use self::profile::Found;
pub use self::profile::Profile;
pub use self::role::WebIdentity;
use super::place::{AccessKey, Place, S3Options};
use crate::tls::TlsFiles;
use crate::url::UrlError;

/// How long one question for a key takes at most, all requests for it together.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long before its end a key is replaced, if it holds more than twice as long. Instances and containers have the
/// next one five minutes before.
const LEAD: Duration = Duration::from_secs(5 * 60);
/// How long before its end a key is no longer used, as a request takes a while.
const SLACK: Duration = Duration::from_secs(15);
/// How long a key without an end is used before it is looked for again.
const LOOK: Duration = Duration::from_secs(60);
/// How long the next question waits at least while a key holds.
const REST: Duration = Duration::from_secs(30);

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("no access key from {from}: {why}{}", Lacking(.lacking))]
    Failed {
        from: String,
        why: Why,
        /// Where none was before that.
        lacking: Vec<String>,
    },
    #[error("there is no access key in {}", .0.join(", "))]
    Nowhere(Vec<String>),
    #[error("an access key takes longer than {} s", PATIENCE.as_secs())]
    Late,
    #[error("the question for an access key was interrupted")]
    Interrupted,
}

struct Lacking<'a>(&'a [String]);

impl fmt::Display for Lacking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; nor is there one in {}", self.0.join(", ")) }
    }
}

/// The keys of a tier. A clone is another handle to the same ones.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Sources,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Lent>,
    /// The question that is under way.
    asking: Option<Asking>,
    /// When the next one may be asked while a key holds.
    rested: Instant,
}

/// What those who wait are told.
type Told = Result<Arc<AwsCredential>, Arc<KeyError>>;
type Asking = Shared<BoxFuture<'static, Told>>;

/// A key, and until when.
#[derive(Debug, Clone)]
struct Lent {
    key: Arc<AwsCredential>,
    /// When another is looked for.
    renew: Timestamp,
    ends: Option<Timestamp>,
}

impl Lent {
    /// One that came now. `None` if no request can be signed with it.
    fn new(key: &AccessKey, ends: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let AccessKey { id, secret, session_token } = key;
        let token = session_token.as_ref().map(|token| token.reveal());
        // They stand in headers; the secret does not.
        let is_good = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_good(id) || secret.reveal().is_empty() || !token.is_none_or(is_good) {
            return None;
        }
        let holds = ends.map(|ends| ends.since(now));
        let renew = holds.map_or(LOOK, |holds| holds - LEAD.min(holds / 2));
        let key = AwsCredential {
            key_id: id.clone(),
            secret_key: secret.reveal().to_owned(),
            token: token.map(str::to_owned),
        };
        Some(Self { key: Arc::new(key), renew: now.plus(renew), ends })
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| ends.since(now) > SLACK)
    }
}

/// Who may be asked for a key.
#[derive(Debug)]
struct Sources {
    options: S3Options,
    /// Where roles are had.
    token_service: String,
    tls: TlsFiles,
}

impl Keys {
    /// Asks nobody yet, but looks at a key that is there.
    pub(super) fn new(
        options: &S3Options,
        place: &Place,
        tls: &TlsFiles,
        clock: &Clock,
    ) -> Result<Self, UrlError> {
        let S3Options { access_key, web_identity, profile, container, instance, .. } = options;
        let is_none = access_key.is_none() && web_identity.is_none() && profile.is_none();
        if is_none && container.is_none() && instance.is_none() {
            return Err(UrlError::NoAccessKey);
        }
        let held = access_key.as_ref().map(|key| {
            let lent = Lent::new(key, None, Timestamp::from_millis(u64::MAX));
            lent.ok_or(UrlError::AccessKey)
        });
        let token_service = options.token_service.clone();
        let sources = Sources {
            options: options.clone(),
            token_service: token_service.unwrap_or_else(|| role::service(&place.region)),
            tls: tls.clone(),
        };
        let state = Mutex::new(State { held: held.transpose()?, ..State::default() });
        Ok(Self(Arc::new(Inner { sources, clock: clock.clone(), state })))
    }

    /// The key, or the question for it.
    fn look(&self) -> Result<Arc<AwsCredential>, Asking> {
        let Inner { clock, state, .. } = &*self.0;
        let (now, wall, mut state) = (clock.now(), clock.wall(), state.lock());
        let holding = state.held.clone().filter(|lent| lent.holds(wall));
        if let Some(lent) = holding.as_ref().filter(|lent| wall < lent.renew || now < state.rested) {
            return Ok(Arc::clone(&lent.key));
        }
        let mut to_ask = None;
        let asking = state.asking.get_or_insert_with(|| {
            let (tell, told) = oneshot::channel();
            to_ask = Some(tell);
            let told = told.map(|answer| answer.unwrap_or_else(|_| Err(Arc::new(KeyError::Interrupted))));
            told.boxed().shared()
        });
        let asking = asking.clone();
        // A runtime that ends drops what is given to it on the spot, and that takes the lock.
        drop(state);
        if let Some(tell) = to_ask {
            self.ask(tell);
        }
        holding.map(|lent| lent.key).ok_or(asking)
    }

    fn ask(&self, tell: oneshot::Sender<Told>) {
        let asked = Asked(Arc::clone(&self.0));
        tokio::spawn(async move {
            let taking = asked.0.sources.take(&asked.0.clock);
            let answer = tokio::time::timeout(PATIENCE, taking).await.unwrap_or(Err(KeyError::Late));
            let told = asked.answered(answer);
            drop(asked);
            // That nobody waits is no loss.
            let _ = tell.send(told);
        });
    }
}

#[async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let answer = match self.look() {
            Ok(key) => Ok(key),
            Err(asking) => asking.await,
        };
        answer.map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

/// A question that is under way until it is dropped, be it that its runtime ended.
struct Asked(Arc<Inner>);

impl Asked {
    /// Keeps what came of it.
    fn answered(&self, answer: Result<Lent, KeyError>) -> Told {
        let Inner { clock, state, .. } = &*self.0;
        let mut state = state.lock();
        state.rested = clock.now().plus(REST);
        match answer {
            Ok(lent) => Ok(Arc::clone(&state.held.insert(lent).key)),
            Err(error) => {
                if state.held.as_ref().is_some_and(|lent| lent.holds(clock.wall())) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an access key is not replaced yet"
                    );
                }
                Err(Arc::new(error))
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.state.lock().asking = None;
    }
}

impl Sources {
    /// Asks the first that is there.
    async fn take(&self, clock: &Clock) -> Result<Lent, KeyError> {
        let S3Options { web_identity, profile, container, instance, .. } = &self.options;
        let mut lacking = vec!["AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()];
        let (from, given) = 'first: {
            if let Some(identity) = web_identity {
                break 'first self.assume(identity, clock).await;
            }
            lacking.push("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN".to_owned());
            if let Some(profile) = profile {
                match profile.look().await {
                    Ok(Some(Found::Key(key))) => {
                        break 'first (profile.to_string(), Ok(Given { key, ends: None }));
                    }
                    Ok(Some(Found::Role(identity))) => break 'first self.assume(&identity, clock).await,
                    Ok(None) => lacking.push(profile.to_string()),
                    Err(why) => break 'first (profile.to_string(), Err(why)),
                }
            }
            if let Some(container) = container {
                break 'first (container.to_string(), container.take(&self.tls).await);
            }
            lacking.push("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI".to_owned());
            match instance {
                Some(url) => (format!("the instance at {url}"), instance::take(url, &self.tls).await),
                None => return Err(KeyError::Nowhere(lacking)),
            }
        };
        let lent = given.and_then(|Given { key, ends }| Lent::new(&key, ends, clock.wall()).ok_or(Why::Form));
        lent.map_err(|why| KeyError::Failed { from, why, lacking })
    }

    async fn assume(&self, identity: &WebIdentity, clock: &Clock) -> (String, Result<Given, Why>) {
        let service = &self.token_service;
        let given = identity.take(service, &self.tls, clock.wall()).await;
        (format!("{service} for {}", identity.role), given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_a_runtime_at_its_end_does_not_take_is_interrupted_and_the_next_is_asked() {
        let instance = Some("http://127.0.0.1:9".to_owned());
        let options = S3Options { instance, ..S3Options::default() };
        let place = Place::parse("s3://bucket", &options).unwrap();
        let keys = Keys::new(&options, &place, &TlsFiles::default(), &Clock::system()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        for _ in 0..2 {
            let answer = keys.get_credential().now_or_never().expect("nobody is waited for");
            assert!(answer.unwrap_err().to_string().contains("was interrupted"));
        }
    }
}
