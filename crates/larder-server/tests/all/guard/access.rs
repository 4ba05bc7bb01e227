//! Who may do what, over HTTP and gRPC.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use larder_server::AccessFile;
use larder_server::guard::Guard;
use larder_server::guard::access::{Outside, read};
use tonic::Code;

use super::{Lab, guard, hash_of, until};

const ACCESS: &str = r#"
[tokens.reader]
secret = "reader-reader-reader"
role = "read"

[tokens.ci]
secret = "ci-ci-ci-ci-ci-ci-ci"
role = "write"
scopes = { release = "read" }

[tokens.boss]
secret = "boss-boss-boss-boss"
role = "admin"

[tokens.shop]
secret = "shop-shop-shop-shop"
scopes = { shop = "write" }

[tokens.old]
secret = "old-old-old-old-old"
role = "admin"
expires = 2020-01-01

[scopes.main]
results = "read-only"

[scopes.once]
write_once = true
"#;

const READER: Option<&str> = Some("reader-reader-reader");
const CI: Option<&str> = Some("ci-ci-ci-ci-ci-ci-ci");
const BOSS: Option<&str> = Some("boss-boss-boss-boss");
const SHOP: Option<&str> = Some("shop-shop-shop-shop");
const OLD: Option<&str> = Some("old-old-old-old-old");

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_missing_wrong_expired_or_of_another_scope_is_turned_away() {
    let lab = Lab::guarded(ACCESS).await;
    let missing = format!("/cas/{}", hash_of(b"nothing"));
    for (token, instance, status, code) in [
        (None, "", 401, Code::Unauthenticated),
        (Some("reader-reader-readeR"), "", 401, Code::Unauthenticated),
        (Some(""), "", 401, Code::Unauthenticated),
        (OLD, "", 401, Code::Unauthenticated),
        (SHOP, "", 403, Code::PermissionDenied),
        (SHOP, "other", 403, Code::PermissionDenied),
        (SHOP, "shop", 404, Code::NotFound),
        (READER, "", 404, Code::NotFound),
    ] {
        let scoped = match instance {
            "" => missing.clone(),
            instance => format!("/scope/{instance}{missing}"),
        };
        assert_eq!(lab.get(&scoped, token).await.status, status, "{token:?} {instance}");
        assert_eq!(lab.ask_for_result(instance, token).await.code(), code, "{token:?} {instance}");
    }
    let refused = lab.get(&missing, None).await;
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
    assert_eq!(lab.get(&missing, OLD).await.text(), "the token that came with the request has expired");
    // A password is a secret, too; of a user whose name does not matter.
    let basic = "Authorization: Basic YW55Ym9keTpzaG9wLXNob3Atc2hvcC1zaG9w";
    let asked = format!("GET /scope/shop{missing} HTTP/1.1\n{basic}\n");
    assert_eq!(lab.http(&asked, b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_writes_nothing_and_what_a_scope_says_of_a_role_counts_there() {
    let lab = Lab::guarded(ACCESS).await;
    let path = format!("/cas/{}", hash_of(b"content"));
    assert_eq!(lab.put(&path, READER, b"content").await, 403);
    assert_eq!(lab.get(&path, READER).await.status, 404);
    assert_eq!(lab.put(&path, CI, b"content").await, 200);
    assert_eq!(lab.get(&path, READER).await.body, b"content");
    let release = format!("/scope/release{path}");
    assert_eq!(lab.put(&release, CI, b"content").await, 403);
    assert_eq!(lab.put(&release, BOSS, b"content").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_protected_scope_writers_write_contents_and_admins_results() {
    let lab = Lab::guarded(ACCESS).await;
    let content = format!("/scope/main/cas/{}", hash_of(b"content"));
    assert_eq!(lab.put(&content, CI, b"content").await, 200);
    let others = ["ac/", "gradle/", "v8/artifacts/", "v1/cache/", "webdav/", "ccache/"];
    for path in others.map(|path| format!("/scope/main/{path}{}", hash_of(path.as_bytes()))) {
        assert_eq!(lab.put(&path, CI, b"a result").await, 403, "{path}");
        assert!(lab.put(&path, BOSS, b"a result").await < 300, "{path}");
        assert_eq!(lab.get(&path, READER).await.body, b"a result", "{path}");
    }
    let path = "/scope/main/ccache/ab/cd";
    assert_eq!(lab.put(path, BOSS, b"one").await, 201);
    let remove = |token: &str| format!("DELETE {path} HTTP/1.1\nAuthorization: Bearer {token}\n");
    assert_eq!(lab.http(&remove(CI.unwrap()), b"").await.status, 403);
    assert_eq!(lab.http(&remove(BOSS.unwrap()), b"").await.status, 204);
    assert_eq!(lab.get(path, READER).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_once_is_not_replaced_by_anything_else_and_the_same_may_come_again() {
    let lab = Lab::guarded(ACCESS).await;
    for path in ["gradle/0123", "v8/artifacts/0123", "webdav/a/b"] {
        let path = format!("/scope/once/{path}");
        assert!(lab.put(&path, CI, b"first").await < 300, "{path}");
        assert!(lab.put(&path, CI, b"first").await < 300, "{path}");
        assert_eq!(lab.put(&path, BOSS, b"second").await, 409, "{path}");
        assert_eq!(lab.get(&path, READER).await.body, b"first", "{path}");
    }
    // Nor is it removed to make room.
    let remove =
        |token: &str| format!("DELETE /scope/once/webdav/a/b HTTP/1.1\nAuthorization: Bearer {token}\n");
    assert_eq!(lab.http(&remove(CI.unwrap()), b"").await.status, 403);
    assert_eq!(lab.http(&remove(BOSS.unwrap()), b"").await.status, 204);
    // Of many at once, one is told that theirs is kept.
    let puts = (0..16).map(|n| {
        let lab = &lab;
        async move { lab.put("/scope/once/gradle/race", CI, format!("{n}").as_bytes()).await }
    });
    let statuses = futures_util::future::join_all(puts).await;
    assert_eq!(statuses.iter().filter(|&&status| status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 409).count(), 15, "{statuses:?}");
    // An action result, whose exit code would have been another.
    let path = format!("/scope/once/ac/{}", hash_of(b"action"));
    let results = [[0x20, 1], [0x20, 2]];
    assert_eq!(lab.put(&path, CI, &results[0]).await, 200);
    assert_eq!(lab.put(&path, CI, &results[1]).await, 409);
    assert_eq!(lab.put(&path, CI, b"no result at all").await, 409);
    assert_eq!(lab.get(&path, READER).await.body, results[0]);
    // Nor does one take the place of what is none; to that its client may add.
    let path = format!("/scope/once/ac/{}", hash_of(b"manifest"));
    for manifest in [b"no result".as_slice(), b"no result at all"] {
        assert_eq!(lab.put(&path, CI, manifest).await, 200);
        assert_eq!(lab.put(&path, CI, &results[0]).await, 409);
        assert_eq!(lab.get(&path, READER).await.body, manifest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_over_and_one_with_a_mistake_is_not() {
    let lab = Lab::with(|folder, options| {
        let path = folder.join("access.toml");
        fs::write(&path, ACCESS).unwrap();
        options.guard = guard(ACCESS);
        options.access = Some(AccessFile { path, variable: |_| None });
    })
    .await;
    let (file, missing) = (lab.folder.path().join("access.toml"), format!("/cas/{}", hash_of(b"nothing")));
    let status = async |token| lab.get(&missing, token).await.status;
    assert_eq!((status(READER).await, status(None).await), (404, 401));
    // Seen by itself.
    fs::write(&file, "anybody = \"read\"\n").unwrap();
    until("the new file", async || status(None).await == 404).await;
    assert_eq!(status(READER).await, 404, "where nobody needs a token, one does no harm");
    fs::write(&file, "anybody = \"rite\"\n").unwrap();
    lab.reload.notify_one();
    // What comes after it shows that it was read.
    lab.check_rules_hold(&missing, None).await;
    fs::write(&file, ACCESS).unwrap();
    lab.reload.notify_one();
    until("the old rules", async || status(None).await == 401).await;
    assert_eq!(status(READER).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_the_server_begins_is_taken_over() {
    let lab = Lab::with(|folder, options| {
        let path = folder.join("access.toml");
        // What it was when it was read.
        options.guard = guard(ACCESS);
        fs::write(&path, "anybody = \"read\"\n").unwrap();
        options.access = Some(AccessFile { path, variable: |_| None });
    })
    .await;
    let missing = format!("/cas/{}", hash_of(b"nothing"));
    until("the new file", async || lab.get(&missing, None).await.status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_file_of_its_own_is_taken_over_when_that_changes() {
    let lab = Lab::with(|folder, options| {
        let path = folder.join("access.toml");
        fs::write(&path, "[tokens.ci]\nsecret_file = \"secret\"\nrole = \"write\"\n").unwrap();
        fs::write(folder.join("secret"), CI.unwrap()).unwrap();
        let file = AccessFile { path, variable: |_| None };
        options.guard = Guard::new(file.read().unwrap());
        options.access = Some(file);
    })
    .await;
    let missing = format!("/cas/{}", hash_of(b"nothing"));
    let status = async |token| lab.get(&missing, token).await.status;
    assert_eq!((status(CI).await, status(BOSS).await), (404, 401));
    // Another file in its place, as long as the one before and no younger.
    let (secret, next) = (lab.folder.path().join("secret"), lab.folder.path().join("next"));
    let time = fs::metadata(&secret).unwrap().modified().unwrap();
    assert_eq!(BOSS.unwrap().len() + 1, CI.unwrap().len());
    fs::write(&next, format!("{}\n", BOSS.unwrap())).unwrap();
    fs::File::options().append(true).open(&next).unwrap().set_modified(time).unwrap();
    fs::rename(&next, &secret).unwrap();
    until("the new secret", async || status(BOSS).await == 404).await;
    assert_eq!(status(CI).await, 401);
    // One that is gone for a while changes nothing, and is seen when it is there again.
    fs::remove_file(&secret).unwrap();
    lab.reload.notify_one();
    lab.check_rules_hold(&missing, BOSS).await;
    fs::write(&secret, CI.unwrap()).unwrap();
    until("the old secret", async || status(CI).await == 404).await;
    // So is one that the file names from now on.
    let access = lab.folder.path().join("access.toml");
    fs::write(&access, fs::read_to_string(&access).unwrap().replace("\"secret\"", "\"other\"")).unwrap();
    fs::write(lab.folder.path().join("other"), BOSS.unwrap()).unwrap();
    until("the other file", async || status(BOSS).await == 404).await;
    fs::write(lab.folder.path().join("other"), SHOP.unwrap()).unwrap();
    until("the other file's change", async || status(SHOP).await == 404).await;
}

impl Lab {
    async fn check_rules_hold(&self, path: &str, token: Option<&str>) {
        for _ in 0..20 {
            assert_eq!(self.get(path, token).await.status, 404);
        }
    }
}

fn check(text: &str, expected: Expect) {
    let outside = Outside {
        variable: &|name| (name == "TOKEN").then(|| "from-the-environment".to_owned()),
        file: &|path| match path.to_str() {
            Some("conf/token") => Ok(b"from-a-file-of-its-own\n".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        },
    };
    match read(Path::new("conf/access.toml"), text, outside) {
        Ok(rules) => {
            let names: Vec<_> = rules.tokens.iter().map(|token| token.identity.name().to_string()).collect();
            expected.assert_eq(&format!("tokens {}", names.join(", ")));
        }
        Err(error) => {
            let lines: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
            expected.assert_eq(&lines.join("\n"));
        }
    }
}

#[test]
fn secrets_come_from_the_file_another_file_the_environment_or_as_digests() {
    let digest = "ab".repeat(32);
    check(
        &format!(
            "[tokens.a]\nsecret = \"long-enough-a-secret\"\n[tokens.b]\nsecret_file = \"token\"\n\
             [tokens.c]\nsecret_env = \"TOKEN\"\n[tokens.d]\ndigest = \"{digest}\""
        ),
        expect!["tokens a, b, c, d"],
    );
}

#[test]
fn mistakes_are_told_all_at_once_with_their_place_and_what_to_do() {
    check(
        r#"
anybody = "some"
scops = {}
[tokens.ci]
secret = "short"
role = 5
[tokens.none]
role = "read"
[tokens.two]
secret_env = "TOKEN"
secret_file = "token"
[tokens.gone]
secret_file = "gone"
expires = "tomorrow"
[tokens.same]
secret_env = "TOKEN"
[tokens.local]
secret_env = "UNSET"
expires = 2027-01-01T00:00:00
[scopes."a/b"]
quota = "20"
[scopes.main]
results = "readonly"
max_age = "0 s"
writeonce = true
[limits]
concurrent = 0
"#,
        expect![[r#"
            conf/access.toml:2:11: `anybody` can't be "some" (it is one of read, write, admin)
            conf/access.toml:3:1: unknown key `scops` in the file (did you mean `scopes`?)
            conf/access.toml:5:10: the secret has fewer than 16 bytes (`larder serve token` makes one that nobody guesses)
            conf/access.toml:6:8: `role` is an integer, which it can't be (write a string)
            conf/access.toml:7:9: [tokens.none] has 0 of digest, secret, secret_file, secret_env, and needs one (`larder serve token` makes a secret and its digest)
            conf/access.toml:9:9: [tokens.two] has 2 of digest, secret, secret_file, secret_env, and needs one (`larder serve token` makes a secret and its digest)
            conf/access.toml:13:15: cannot read conf/gone: entity not found (it holds the secret and nothing else)
            conf/access.toml:14:11: `expires` is a string, which it can't be (write 2027-01-01 or 2027-01-01T12:00:00Z)
            conf/access.toml:18:14: the variable UNSET is not set (set it where the server is started)
            conf/access.toml:20:9: scope "a/b" must be 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-' (a scope's name has letters, digits, '.', '_' and '-')
            conf/access.toml:21:9: `quota` can't be "20" (write a size from 1 B on such as "20 GiB")
            conf/access.toml:23:11: `results` can't be "readonly" (it is one of read-only, read-write)
            conf/access.toml:24:11: `max_age` can't be "0 s" (write a time such as "30 s" or "14 d")
            conf/access.toml:25:1: unknown key `writeonce` in [scopes.main] (did you mean `write_once`?)
            conf/access.toml:27:14: `concurrent` has to be at least 1 (write a whole number from 1 on)"#]],
    );
    check(
        "a = ",
        expect![
            "conf/access.toml:1:5: string values must be quoted, expected literal string (the file is TOML)"
        ],
    );
}
