//! What is kept over plain HTTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use larder::key::Scope;
use larder_server::guard::{Guard, Identity, Reach, Role};

use crate::guard::guard;
use crate::lab::{LARGEST_BYTES, Lab, hash, noise};

#[test]
fn contents_over_http_have_to_match_their_name() {
    let mut lab = Lab::start();
    for content in [noise(1, 0), noise(2, 9), noise(3, 500_000)] {
        let path = format!("/cas/{}", hash(&content));
        assert_eq!(lab.http("PUT", &path, &[], [&content[..], b"~"].concat()).code(), 400);
        let before = if content.is_empty() { 200 } else { 404 };
        assert_eq!(lab.http("GET", &path, &[], "").code(), before);
        assert_eq!(lab.http("HEAD", &path, &[], "").code(), before);
        assert_eq!(lab.http("PUT", &path, &[], content.clone()).code(), 200);
        lab.restart();
        let got = lab.http("GET", &path, &[], "");
        assert_eq!((got.code(), got.body.as_ref()), (200, Some(&content)));
        let length = content.len().to_string();
        let head = lab.http("HEAD", &path, &[], "");
        assert_eq!((head.code(), head.header("content-length")), (200, Some(&*length)));
        assert!(head.body.unwrap().is_empty());
        assert_eq!(lab.http("GET", &format!("/scope/other{path}"), &[], "").code(), before);
    }
    let frame = zstd::bulk::compress(&noise(4, 70_000), 1).unwrap();
    let path = format!("/cas/{}", hash(&noise(4, 70_000)));
    assert_eq!(lab.http("PUT", &path, &[("content-encoding", "gzip")], frame.clone()).code(), 400);
    assert_eq!(lab.http("PUT", &path, &[("content-encoding", "zstd")], frame).code(), 200);
    assert_eq!(lab.http("GET", &path, &[], "").body.unwrap(), noise(4, 70_000));
    assert_eq!(lab.http("PUT", "/cas/12", &[], "x").code(), 400);
    // It is refused for what its head says, before anything of it comes.
    let mut stream = TcpStream::connect(lab.address()).unwrap();
    let (hash, length) = (hash(b"large"), LARGEST_BYTES + 1);
    write!(stream, "PUT /cas/{hash} HTTP/1.1\r\nHost: cache\r\nContent-Length: {length}\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 413 Payload Too Large\r\n");
}

#[test]
fn a_path_or_a_method_that_means_nothing_is_answered_with_words() {
    let lab = Lab::start();
    for (method, path, code) in [
        ("GET", "/", 404),
        ("PUT", "/cache/1", 404),
        ("GET", "/scope/other/cache", 404),
        ("POST", "/gradle/1", 405),
        ("PATCH", "/webdav/1", 405),
    ] {
        let answer = lab.http(method, path, &[], "");
        assert_eq!(answer.code(), code, "{method} {path}");
        let said = if code == 404 { "no cache is served" } else { "this method means nothing" };
        assert!(answer.text().starts_with(said), "{}", answer.text());
    }
}

#[test]
fn what_is_put_as_a_result_and_is_none_is_kept_as_it_is() {
    let lab = Lab::start();
    let path = format!("/ac/{}", hash(b"ccache"));
    for body in [b"no message".to_vec(), noise(5, 60_000).to_vec(), noise(6, 5 << 20).to_vec()] {
        assert_eq!(lab.http("PUT", &path, &[], body.clone()).code(), 200);
        let got = lab.http("GET", &path, &[("accept", "application/json")], "");
        assert!(got.body.unwrap() == body);
    }
    assert_eq!(lab.damage(), 2);
    assert_eq!(lab.http("GET", &path, &[], "").code(), 404, "it was damaged");
}

#[test]
fn files_of_ccache_are_put_got_replaced_and_removed() {
    let lab = Lab::start();
    let path = "/scope/shop/ccache/3f/1c9a7e";
    assert_eq!(lab.http("GET", path, &[], "").code(), 404);
    assert_eq!(lab.http("PUT", path, &[], "first").code(), 201);
    assert_eq!(lab.http("PUT", path, &[], noise(7, 100_000)).code(), 201);
    assert_eq!(lab.http("GET", path, &[], "").body.unwrap(), noise(7, 100_000));
    assert_eq!(lab.http("HEAD", path, &[], "").header("content-length"), Some("100000"));
    assert_eq!(lab.http("GET", "/ccache/3f/1c9a7e", &[], "").code(), 404, "another scope");
    assert_eq!(lab.http("DELETE", path, &[], "").code(), 204);
    assert_eq!(lab.http("GET", path, &[], "").code(), 404);
}

#[test]
fn what_is_put_again_takes_the_place_of_what_was_damaged_before_anybody_noticed() {
    let lab = Lab::start();
    let content = noise(10, 100_000);
    let paths = ["/ccache/3f/1c9a7e".to_owned(), format!("/cas/{}", hash(&content))];
    for path in &paths {
        assert!(lab.http("PUT", path, &[], content.clone()).status.is_success());
        assert_eq!(lab.damage(), 1);
        assert!(lab.http("PUT", path, &[], content.clone()).status.is_success());
        assert_eq!(lab.http("GET", path, &[], "").body.unwrap(), content);
    }
}

#[test]
fn webdav_tells_of_files_and_folders_under_the_path_by_which_they_are_asked_for() {
    let lab = Lab::start();
    let check = |path: &str| {
        let told = lab.http("PROPFIND", path, &[("depth", "0")], "");
        (told.code(), told.text())
    };
    for root in ["/webdav", "/scope/shop/webdav"] {
        let file = format!("{root}/d/3/a%20b&c");
        assert_eq!(check(&file).0, 404);
        assert_eq!(lab.http("MKCOL", &format!("{root}/d/"), &[], "").code(), 201);
        assert_eq!(lab.http("PUT", &file, &[], "12345").code(), 201);
        let (code, text) = check(&file);
        let href = format!("<D:href>{root}/d/3/a%20b&amp;c</D:href>");
        assert!(code == 207 && text.contains(&href), "{text}");
        assert!(text.contains("<D:getcontentlength>5</D:getcontentlength>"), "{text}");
        for folder in [format!("{root}/"), format!("{root}/d/3/")] {
            let (code, text) = check(&folder);
            assert!(code == 207 && text.contains(&format!("<D:href>{folder}</D:href>")), "{text}");
            assert!(text.contains("<D:collection/>"), "{text}");
        }
        assert_eq!(lab.http("OPTIONS", &file, &[], "").header("dav"), Some("1"));
        assert_eq!(lab.http("POST", &file, &[], "").code(), 405);
        assert_eq!(lab.http("DELETE", &file, &[], "").code(), 204);
        assert_eq!(lab.http("GET", &file, &[], "").code(), 404);
    }
}

#[test]
fn an_archive_of_nx_is_written_once() {
    let lab = Lab::start();
    let path = "/v1/cache/14695981039346656037";
    assert_eq!(lab.http("GET", path, &[], "").code(), 404);
    assert_eq!(lab.http("PUT", path, &[], noise(8, 90_000)).code(), 200);
    assert_eq!(lab.http("PUT", path, &[], "another").code(), 409);
    assert_eq!(lab.http("GET", path, &[], "").body.unwrap(), noise(8, 90_000));
    // What was damaged is not there, so it may be written again.
    assert_eq!(lab.damage(), 1);
    assert_eq!(lab.http("GET", path, &[], "").code(), 404);
    assert_eq!(lab.http("PUT", path, &[], noise(8, 90_000)).code(), 200);
}

#[test]
fn an_artifact_of_turborepo_comes_back_with_what_its_client_said_of_it() {
    let lab = Lab::start();
    let path = "/v8/artifacts/6eb880d967529a64?slug=shop";
    let said =
        [("x-artifact-tag", "c2lnbmF0dXJl"), ("x-artifact-duration", "1250"), ("x-artifact-sha", "ab")];
    assert_eq!(lab.http("GET", "/v8/artifacts/status", &[], "").text(), r#"{"status":"enabled"}"#);
    assert_eq!(lab.http("GET", path, &[], "").code(), 404);
    assert_eq!(lab.http("PUT", path, &said, noise(9, 40_000)).code(), 202);
    let got = lab.http("GET", path, &[], "");
    assert_eq!(got.body.as_ref().unwrap(), &noise(9, 40_000));
    for (name, value) in said {
        assert_eq!(got.header(name), Some(value));
    }
    assert_eq!(lab.http("HEAD", path, &[], "").code(), 200);
    assert_eq!(lab.http("POST", "/v8/artifacts/events", &[], "[]").code(), 200);
    let asked = lab.http("POST", "/v8/artifacts", &[], r#"{"hashes":["6eb880d967529a64","12"]}"#);
    let told: serde_json::Value = serde_json::from_str(&asked.text()).unwrap();
    assert_eq!(told["12"], serde_json::Value::Null);
    let known = serde_json::json!({ "size": 40_000, "taskDurationMs": 1250, "tag": "c2lnbmF0dXJl" });
    assert_eq!(told["6eb880d967529a64"], known);
    assert_eq!(lab.http("POST", "/v8/artifacts", &[], "{}").code(), 400);
}

#[test]
fn as_many_artifacts_as_may_be_asked_for_at_once_fit_into_a_question() {
    let lab = Lab::start();
    let asked = |number: usize| {
        let hashes: Vec<String> = (0..number).map(|n| format!("{n:0>256}")).collect();
        serde_json::json!({ "hashes": hashes }).to_string()
    };
    let ten_thousand = asked(10_000);
    assert!(ten_thousand.len() > 2 << 20);
    let told = lab.http("POST", "/v8/artifacts", &[], ten_thousand.clone());
    assert_eq!((told.code(), told.text().matches("null").count()), (200, 10_000));
    assert_eq!(lab.http("POST", "/v8/artifacts", &[], asked(10_001)).code(), 400);
    assert_eq!(lab.http("POST", "/v8/artifacts/events", &[], ten_thousand).code(), 200);
    let answer = lab.try_http("POST", "/v8/artifacts", &[], asked(50_000));
    assert!(answer.is_none_or(|answer| answer.code() == 413));
}

#[test]
fn a_part_is_not_taken_for_the_whole() {
    let lab = Lab::start();
    let digest = hash(b"part");
    for path in ["/ccache/3f/1c", "/gradle/3f", "/webdav/3f", "/v8/artifacts/3f", "/v1/cache/3f"] {
        check_part(&lab, path);
    }
    check_part(&lab, &format!("/cas/{digest}"));
    check_part(&lab, &format!("/ac/{digest}"));
}

fn check_part(lab: &Lab, path: &str) {
    assert_eq!(lab.http("PUT", path, &[("content-range", "bytes 0-3/9")], "part").code(), 400, "{path}");
    assert_eq!(lab.http("GET", path, &[], "").code(), 404, "{path}");
}

fn written_once() -> Guard {
    guard("anybody = \"write\"\n[scopes.default]\nwrite_once = true\n")
}

#[test]
fn what_a_client_says_later_of_what_is_written_once_is_added_and_nothing_is_replaced() {
    let lab = Lab::guarded(written_once);
    let path = "/v8/artifacts/6eb880d967529a64";
    let put = |said: &[(&str, &str)]| lab.http("PUT", path, said, "artifact").code();
    let told = || {
        let got = lab.http("GET", path, &[], "");
        ["x-artifact-tag", "x-artifact-duration"].map(|name| got.header(name).map(str::to_owned))
    };
    let (tag, duration) = (Some("c2lnbmF0dXJl".to_owned()), Some("1250".to_owned()));
    assert_eq!(put(&[("x-artifact-duration", "1250")]), 202);
    assert_eq!(told(), [None, duration.clone()]);
    // Making it again takes another time.
    assert_eq!(put(&[("x-artifact-tag", "c2lnbmF0dXJl"), ("x-artifact-duration", "7")]), 202);
    assert_eq!(told(), [tag.clone(), duration.clone()]);
    assert_eq!(put(&[("x-artifact-tag", "YW5vdGhlcg==")]), 409);
    assert_eq!(put(&[]), 202);
    assert_eq!(told(), [tag, duration]);
}

#[test]
fn whoever_has_no_token_or_too_little_of_a_role_is_turned_away() {
    let lab = Lab::guarded(|| {
        let shop = Reach::In(Scope::new("shop").unwrap());
        let reader = Identity::new("reader", [(shop.clone(), Role::Read)]);
        let writer = Identity::new("writer", [(shop, Role::Write)]);
        Guard::knowing([("read", reader), ("write", writer)], None)
    });
    let path = "/scope/shop/gradle/6eb880d967529a646eb880d967529a64";
    let ask = |method: &str, path: &str, authorization: Option<&str>| {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        lab.http(method, path, &headers, if method == "PUT" { "entry" } else { "" }).code()
    };
    assert_eq!(ask("PUT", path, None), 401);
    assert_eq!(ask("PUT", path, Some("Bearer wrong")), 401);
    assert_eq!(ask("PUT", path, Some("Bearer read")), 403);
    assert_eq!(ask("PUT", path, Some("Bearer write")), 201);
    // any:read
    assert_eq!(ask("GET", path, Some("Basic YW55OnJlYWQ=")), 200);
    assert_eq!(ask("GET", path, None), 401);
    assert_eq!(ask("GET", "/gradle/6eb880d967529a64", Some("Bearer read")), 403, "another scope");
    assert_eq!(ask("GET", "/status", None), 200);
}
