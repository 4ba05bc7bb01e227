//! How many scopes there may be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder::key::Scope;
use larder_server::store::{ContentId, Family, Function, Made};

use super::Lab;

/// How many a server has beside those that it is configured with.
const MOST: usize = 4096;

const ACCESS: &str = r#"
anybody = "write"

[tokens.ci]
secret = "ci-ci-ci-ci-ci-ci-ci"
scopes = { granted = "write" }

[scopes.ruled]
quota = "1 GiB"
"#;

fn scope(number: usize) -> Scope {
    Scope::new(&format!("e{number}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_in_scopes_that_have_nothing_takes_no_scope_from_whoever_writes() {
    let lab = Lab::guarded(ACCESS).await;
    let id = ContentId::of(Function::Sha256, b"content");
    for scope in (0..=MOST).map(scope) {
        assert!(lab.store.object(&scope, Family::Ccache, "x").await.unwrap().is_none());
        assert!(lab.store.outcome(&scope, id).await.unwrap().is_none());
        assert_eq!(lab.store.missing(&scope, &[(id, 7)]).await.unwrap(), [(id, 7)]);
    }
    assert_eq!(lab.put("/scope/new/ccache/x", None, b"kept").await, 201);
    assert_eq!(lab.get("/scope/new/ccache/x", None).await.body, b"kept");
    assert_eq!(lab.get("/scope/e1/ccache/x", None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_that_a_server_is_configured_with_have_room_however_many_others_there_are() {
    let lab = Lab::guarded(ACCESS).await;
    let by: Arc<str> = "anybody".into();
    for scope in (0..MOST).map(scope) {
        let upload = lab.store.upload(Function::Blake3, None).unwrap();
        let made = Made { by: &by, cost: Duration::ZERO, once: false };
        lab.store.keep_object(&scope, (Family::Ccache, "x"), upload, BTreeMap::new(), made).await.unwrap();
    }
    assert_eq!(lab.put("/scope/more/ccache/x", None, b"kept").await, 507);
    assert_eq!(lab.get("/scope/more/ccache/x", None).await.status, 404, "it is no failure to ask");
    for path in ["/ccache/x", "/scope/ruled/ccache/x", "/scope/granted/ccache/x"] {
        assert_eq!(lab.put(path, None, b"kept").await, 201, "{path}");
        assert_eq!(lab.get(path, None).await.body, b"kept", "{path}");
    }
}
