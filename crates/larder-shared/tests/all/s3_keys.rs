//! Keys for S3 that come from elsewhere, each taken by a server that checks signatures and tokens.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use larder::clock::{Clock, Timestamp};
use larder::config::Secret;
use larder::testing::{key, sealed};
use larder::tier::{PutOutcome, Tier};
use larder_shared::testing::{Certificates, KeyServer, Lender, S3Server, Server as _};
use larder_shared::{
    AccessKey, Container, ContainerToken, Options, Profile, S3Options, TlsFiles, UrlError, WebIdentity, open,
};
use tempfile::TempDir;

use crate::lab::{options, until};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// A bucket, and who lends keys for it.
struct Lab {
    server: S3Server,
    keys: KeyServer,
    clock: Clock,
    folder: TempDir,
}

impl Lab {
    fn start() -> Self {
        let (server, clock) = (S3Server::start(), Clock::manual(options().clock.wall()));
        let keys = KeyServer::start(&server, &clock, HOUR);
        Self { server, keys, clock, folder: TempDir::new().unwrap() }
    }

    fn tier(&self, s3: S3Options) -> Arc<dyn Tier> {
        self.tier_with(Options { s3, ..options() })
    }

    fn tier_with(&self, options: Options) -> Arc<dyn Tier> {
        open(&self.server.url(), Options { clock: self.clock.clone(), ..options }).unwrap()
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn profile(&self, name: &str, is_chosen: bool) -> Option<Profile> {
        let [credentials, config] = ["credentials", "config"].map(|name| self.folder.path().join(name));
        Some(Profile { name: name.to_owned(), is_chosen, credentials, config })
    }

    fn instance(&self) -> S3Options {
        S3Options { instance: Some(self.keys.url()), ..S3Options::default() }
    }

    fn container(&self, token: ContainerToken) -> Option<Container> {
        Some(Container::new(&self.keys.container_url(), Some(token)))
    }

    fn web_identity(&self) -> S3Options {
        let (token, role) = KeyServer::identity();
        let token = self.write("token", &format!("{token}\n"));
        let web_identity = Some(WebIdentity { token, role: role.to_owned(), session: None });
        S3Options { web_identity, token_service: Some(self.keys.url()), ..S3Options::default() }
    }
}

fn token() -> ContainerToken {
    ContainerToken::Value(Secret::new(KeyServer::container_token()))
}

/// Writes and reads.
async fn check(tier: &Arc<dyn Tier>, id: &str) {
    let key = key("keys", &format!("k@1/{id}"));
    let began = tier.epoch().await.unwrap();
    let outcomes = tier.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap();
    assert!(outcomes.iter().all(PutOutcome::is_kept), "{outcomes:?}");
    assert!(tier.get(&key).await.unwrap().is_some());
}

/// What a tier without a key says; nothing secret.
async fn said(tier: &Arc<dyn Tier>) -> String {
    let error = tier.get(&key("keys", "k@1/said")).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let words = causes.map(|error| format!("{error} {error:?}")).collect::<String>() + &format!("{tier:?}");
    assert!(!words.contains("hush"), "{words}");
    std::error::Error::source(&error).unwrap().to_string()
}

#[tokio::test]
async fn each_place_has_a_key_that_requests_are_signed_with() {
    let lab = Lab::start();
    let (fixed, roles) = (S3Server::options().access_key.unwrap(), lab.web_identity());
    let (id, secret) = (&fixed.id, fixed.secret.reveal());
    lab.write(
        "credentials",
        &format!(
            "# keys\n[default]\naws_access_key_id = other\naws_secret_access_key = other\n\
             [cache]\naws_access_key_id={id}\naws_secret_access_key = {secret} # ours\n"
        ),
    );
    let (identity, role) = KeyServer::identity();
    let token_file = lab.write("identity", identity);
    lab.write(
        "config",
        &format!(
            "[default]\nregion = eu-1\n[profile settings]\ns3 =\n  aws_access_key_id = nested\n\
             aws_access_key_id = {id}\naws_secret_access_key = {secret}\n\
             [profile role]\nrole_arn = {role}\nweb_identity_token_file = {}\n",
            token_file.display()
        ),
    );
    let file = lab.write("container", KeyServer::container_token());
    let profile = |name| S3Options {
        profile: lab.profile(name, true),
        token_service: Some(lab.keys.url()),
        ..S3Options::default()
    };
    let container = |token| S3Options { container: lab.container(token), ..S3Options::default() };
    let mut asked = Vec::new();
    for (id, options, lender) in [
        ("identity", roles, Some(Lender::TokenService)),
        ("profile", profile("cache"), None),
        ("settings", profile("settings"), None),
        ("role", profile("role"), Some(Lender::TokenService)),
        ("container", container(token()), Some(Lender::Container)),
        ("file", container(ContainerToken::File(file)), Some(Lender::Container)),
        ("instance", lab.instance(), Some(Lender::Instance)),
    ] {
        check(&lab.tier(options), id).await;
        asked.extend(lender);
        assert_eq!(lab.keys.asked(), asked, "{id}");
    }
}

#[tokio::test]
async fn the_first_place_that_has_a_key_is_asked_and_no_other() {
    let lab = Lab::start();
    let fixed = S3Server::options().access_key.unwrap();
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        fixed.id,
        fixed.secret.reveal()
    );
    lab.write("credentials", &keys);
    let mut options = S3Options {
        access_key: Some(fixed),
        profile: lab.profile("default", false),
        container: lab.container(token()),
        instance: Some(lab.keys.url()),
        ..lab.web_identity()
    };
    check(&lab.tier(options.clone()), "fixed").await;
    options.access_key = None;
    assert_eq!(lab.keys.asked(), []);
    check(&lab.tier(options.clone()), "identity").await;
    options.web_identity = None;
    assert_eq!(lab.keys.asked(), [Lender::TokenService]);
    check(&lab.tier(options.clone()), "profile").await;
    assert_eq!(lab.keys.asked(), [Lender::TokenService]);
    lab.write("credentials", "[other]\naws_access_key_id = other\n");
    check(&lab.tier(options.clone()), "container").await;
    options.container = None;
    check(&lab.tier(options), "instance").await;
    assert_eq!(lab.keys.asked(), [Lender::TokenService, Lender::Container, Lender::Instance]);
}

#[tokio::test]
async fn one_that_fails_is_not_made_up_for_by_the_next() {
    let lab = Lab::start();
    let strange = ContainerToken::Value(Secret::new("hush-strange"));
    let options = S3Options { container: lab.container(strange), ..lab.instance() };
    let said = said(&lab.tier(options)).await;
    assert!(
        said.starts_with(
            "no access key from the container's URL: it answers 403: AccessDenied; nor is there"
        ),
        "{said}"
    );
    assert_eq!(lab.keys.asked(), []);
}

#[tokio::test]
async fn a_key_is_replaced_before_it_ends_while_requests_go_on_with_it() {
    let lab = Lab::start();
    let tier = lab.tier(lab.instance());
    check(&tier, "first").await;
    lab.clock.advance(54 * MINUTE);
    check(&tier, "still").await;
    assert_eq!(lab.keys.asked().len(), 1);
    lab.keys.hold(true);
    lab.clock.advance(2 * MINUTE);
    check(&tier, "meanwhile").await;
    lab.keys.hold(false);
    until("another key", async || lab.keys.asked().len() == 2).await;
    lab.keys.forget_all_but_the_last();
    let known = key("keys", "k@1/first");
    until("it is used", async || tier.get(&known).await.is_ok()).await;
    assert_eq!(lab.keys.asked().len(), 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_replaced_is_used_until_its_end() {
    let lab = Lab::start();
    let tier = lab.tier(lab.instance());
    check(&tier, "first").await;
    lab.keys.fail(true);
    for expected in [2, 3] {
        lab.clock.advance(if expected == 2 { 56 * MINUTE } else { MINUTE });
        until("it is asked for another", async || {
            check(&tier, "meanwhile").await;
            lab.keys.asked().len() == expected
        })
        .await;
    }
    lab.clock.advance(3 * MINUTE);
    let said = said(&tier).await;
    assert!(said.contains("it answers 200: AssumeRoleUnauthorizedAccess"), "{said}");
    lab.keys.fail(false);
    check(&tier, "again").await;
}

#[tokio::test]
async fn many_who_want_a_key_at_once_ask_once() {
    let lab = Lab::start();
    let tier = lab.tier(lab.instance());
    lab.keys.hold(true);
    let mut many = pin!(join_all((0..16).map(|_| tier.epoch())));
    // Each has come for the key before there is one.
    assert!(tokio::time::timeout(Duration::ZERO, &mut many).await.is_err());
    lab.keys.hold(false);
    for one in many.await {
        one.unwrap();
    }
    assert_eq!(lab.keys.asked(), [Lender::Instance]);
}

#[tokio::test]
async fn who_is_out_of_patience_leaves_a_key_to_those_who_come_after() {
    let lab = Lab::start();
    let tier = lab.tier(lab.web_identity());
    lab.keys.hold(true);
    let waits = tokio::time::timeout(Duration::from_millis(20), tier.epoch()).await;
    assert!(waits.is_err());
    lab.keys.hold(false);
    // Nobody asks the tier, and the key comes all the same.
    until("a key", async || lab.keys.asked() == [Lender::TokenService]).await;
    check(&tier, "after").await;
    assert_eq!(lab.keys.asked().len(), 1);
}

#[tokio::test]
async fn files_that_are_written_anew_are_read_anew() {
    let lab = Lab::start();
    let fixed = S3Server::options().access_key.unwrap();
    let write = |id: &str, secret: &Secret| {
        let secret = secret.reveal();
        let keys = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        lab.write("credentials", &keys);
    };
    write(&fixed.id, &Secret::new("hush-wrong"));
    let tier = lab.tier(S3Options { profile: lab.profile("default", false), ..S3Options::default() });
    assert_eq!(said(&tier).await, "access is denied: SignatureDoesNotMatch");
    write(&fixed.id, &fixed.secret);
    lab.clock.advance(MINUTE);
    until("the new one", async || tier.epoch().await.is_ok()).await;
}

#[tokio::test]
async fn a_key_is_of_one_file_and_stands_there_as_the_tools_for_it_read_it() {
    let lab = Lab::start();
    let fixed = S3Server::options().access_key.unwrap();
    let (id, secret) = (&fixed.id, fixed.secret.reveal());
    let profile = || S3Options { profile: lab.profile("default", false), ..S3Options::default() };
    lab.write(
        "config",
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n",
    );
    let spelled = format!(
        "[default]\n  # indented\n  AWS_Access_Key_Id = {id}\n    aws_access_key_id = other\n  \
         aws_secret_access_key = {secret}\n"
    );
    lab.write("credentials", &spelled);
    check(&lab.tier(profile()), "whole").await;
    lab.write("credentials", &format!("[default]\naws_access_key_id = {id}\n"));
    let said = said(&lab.tier(profile())).await;
    assert!(said.starts_with("no access key from profile"), "{said}");
}

#[tokio::test]
async fn what_was_tried_is_told_and_no_secret() {
    let lab = Lab::start();
    let nobody = "http://127.0.0.1:1";
    lab.write(
        "credentials",
        "[half]\naws_access_key_id = id\n[bad]\naws_access_key_id = i d\naws_secret_access_key = hush hush\n",
    );
    lab.write("config", "[profile process]\ncredential_process = hush\n[profile sso]\nsso_session = hush\n");
    let files = format!("{} and {}", path(&lab, "credentials"), path(&lab, "config"));
    let profile = |name| S3Options { profile: lab.profile(name, true), ..S3Options::default() };
    let gone = lab.folder.path().join("gone");
    let (wrong, role) = (lab.write("wrong", "hush.wrong"), KeyServer::identity().1);
    let identity = |token: &Path| {
        let web_identity =
            Some(WebIdentity { token: token.to_owned(), role: role.to_owned(), session: None });
        S3Options { web_identity, token_service: Some(lab.keys.url()), ..S3Options::default() }
    };
    let container =
        |url: &str| S3Options { container: Some(Container::new(url, Some(token()))), ..S3Options::default() };
    let service = lab.keys.url();
    for (options, expected) in [
        (identity(&wrong), format!("{service} for {role}: it answers 400: InvalidIdentityToken")),
        (identity(&gone), format!("{service} for {role}: cannot read {}: No such file", gone.display())),
        (profile("none"), format!("profile \"none\" of {files}: it has no key")),
        (profile("half"), format!("profile \"half\" of {files}: what it has is not well formed")),
        (profile("bad"), format!("profile \"bad\" of {files}: what it has is not well formed")),
        (profile("process"), format!("profile \"process\" of {files}: it gets one by credential_process")),
        (profile("sso"), format!("profile \"sso\" of {files}: it gets one by sso_session")),
        (
            container("http://keys.example/"),
            "the container's URL: it is neither encrypted nor on this".into(),
        ),
        (container(nobody), "the container's URL: nobody answers: ".into()),
        (
            S3Options {
                instance: Some(nobody.into()),
                profile: lab.profile("default", false),
                ..S3Options::default()
            },
            format!("the instance at {nobody}: nobody answers: "),
        ),
    ] {
        let said = said(&lab.tier(options)).await;
        assert!(said.starts_with(&format!("no access key from {expected}")), "{said}");
    }
    lab.keys.take_role();
    let options = S3Options { profile: lab.profile("default", false), ..lab.instance() };
    assert_eq!(
        said(&lab.tier(options)).await,
        format!(
            "no access key from the instance at {service}: it has no role; nor is there one in \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, \
             profile \"default\" of {files}, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI"
        )
    );
    let options = S3Options { profile: lab.profile("default", false), ..S3Options::default() };
    let told = said(&lab.tier(options)).await;
    assert!(told.starts_with("there is no access key in AWS_ACCESS_KEY_ID and "), "{told}");
}

fn path(lab: &Lab, name: &str) -> String {
    lab.folder.path().join(name).display().to_string()
}

#[tokio::test]
async fn a_key_that_no_request_can_be_signed_with_is_told_at_once() {
    let lab = Lab::start();
    let access_key = AccessKey {
        id: "larder-test".into(),
        secret: Secret::new("hush"),
        session_token: Some(Secret::new("hush\n")),
    };
    let s3 = S3Options { access_key: Some(access_key), ..S3Options::default() };
    let opened = open(&lab.server.url(), Options { s3, ..options() });
    assert!(matches!(opened, Err(UrlError::AccessKey)), "{opened:?}");
}

#[tokio::test]
async fn a_token_goes_to_a_service_that_the_settings_trust_and_to_no_other() {
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let server = S3Server::start();
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let keys = KeyServer::encrypted(&server, &clock, HOUR, &certificates);
    let lab = Lab { server, keys, clock, folder: TempDir::new().unwrap() };
    let trusting = |authorities| {
        let tls = TlsFiles { authorities, ..TlsFiles::default() };
        lab.tier_with(Options { tls, s3: lab.web_identity(), ..options() })
    };
    for stranger in [trusting(None), trusting(Some(others.authority()))] {
        let said = said(&stranger).await;
        assert!(said.contains("nobody answers: its certificate is not trusted here"), "{said}");
    }
    assert_eq!(lab.keys.asked(), []);
    check(&trusting(Some(certificates.authority())), "trusted").await;
}
