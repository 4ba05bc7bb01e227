//! Sorts of requests: by which protocol they come, what they ask for, how they end.
//!
//! Invariant: what a client writes chooses among these and becomes no label itself.

use http::{HeaderMap, Method, StatusCode};
use tonic::Code;

use super::front::SCOPE;

/// Makes an enum whose variants have a name each.
macro_rules! named {
    ($(#[$outer:meta])* pub(super) enum $Name:ident { $($(#[$inner:meta])* $Variant:ident => $text:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $Name { $($(#[$inner])* $Variant,)+ }

        impl $Name {
            pub(super) const ALL: [Self; [$(Self::$Variant),+].len()] = [$(Self::$Variant),+];

            /// Its name in labels.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text,)+ }
            }
        }
    };
}

named! {
    /// By which protocol a request comes.
    pub(super) enum Protocol {
        Grpc => "grpc",
        Bazel => "bazel",
        Ccache => "ccache",
        WebDav => "webdav",
        Gradle => "gradle",
        Turborepo => "turborepo",
        Nx => "nx",
        /// The server's own paths, and those that nobody knows.
        Own => "own",
    }
}

named! {
    /// What a request asks for.
    pub(super) enum Operation {
        Get => "get",
        Put => "put",
        GetResult => "get-result",
        PutResult => "put-result",
        /// Whether something is there.
        Look => "look",
        Remove => "remove",
        Other => "other",
    }
}

named! {
    /// How a request ended.
    pub(super) enum Outcome {
        /// As it should.
        Done => "done",
        /// What was asked for is not here.
        Missing => "missing",
        /// Whoever asked may not, or nobody knows them.
        Denied => "denied",
        /// It is not done, by a fault of whoever asked.
        Refused => "refused",
        /// It is not done, by a fault of the server.
        Failed => "failed",
        /// Whoever asked was gone before its answer was.
        Broken => "broken",
    }
}

impl Protocol {
    /// What a request is, by its method and path.
    pub(super) fn of(method: &Method, path: &str) -> (Self, Operation) {
        let path =
            path.strip_prefix(SCOPE).and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let protocol = match (first, second) {
            ("ac" | "cas", _) => Self::Bazel,
            ("ccache", _) => Self::Ccache,
            ("webdav", _) => Self::WebDav,
            ("gradle", _) => Self::Gradle,
            ("v8", "artifacts") => Self::Turborepo,
            ("v1", "cache") => Self::Nx,
            _ if first.starts_with("build.bazel.remote.") || first.starts_with("google.bytestream.") => {
                return (Self::Grpc, Operation::of_call(second));
            }
            _ => return (Self::Own, Operation::Other),
        };
        let operation = match (method.as_str(), first) {
            ("GET", "ac") => Operation::GetResult,
            ("PUT", "ac") => Operation::PutResult,
            ("GET", _) => Operation::Get,
            ("PUT", _) => Operation::Put,
            ("DELETE", _) => Operation::Remove,
            ("HEAD" | "PROPFIND", _) => Operation::Look,
            ("POST", "v8") if path.ends_with("/artifacts") => Operation::Look,
            _ => Operation::Other,
        };
        (protocol, operation)
    }
}

impl Operation {
    fn of_call(name: &str) -> Self {
        match name {
            "GetActionResult" => Self::GetResult,
            "UpdateActionResult" => Self::PutResult,
            "Read" | "BatchReadBlobs" | "GetTree" => Self::Get,
            "Write" | "BatchUpdateBlobs" => Self::Put,
            "FindMissingBlobs" | "QueryWriteStatus" => Self::Look,
            _ => Self::Other,
        }
    }
}

impl Outcome {
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::Missing,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied,
            status if status.is_client_error() => Self::Refused,
            status if status.is_server_error() => Self::Failed,
            _ => Self::Done,
        }
    }

    /// What the status of a call says, if it stands in these headers or trailers.
    pub(super) fn of_grpc(headers: &HeaderMap) -> Option<Self> {
        let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
        Some(match code {
            Code::Ok => Self::Done,
            Code::NotFound => Self::Missing,
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied,
            Code::Cancelled => Self::Broken,
            Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss | Code::DeadlineExceeded => {
                Self::Failed
            }
            _ => Self::Refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sorted_by_its_method_and_path() {
        let check = |method: &str, path: &str| {
            let (protocol, operation) = Protocol::of(&method.parse().unwrap(), path);
            format!("{} {}", protocol.as_str(), operation.as_str())
        };
        assert_eq!(check("GET", "/ac/12"), "bazel get-result");
        assert_eq!(check("PUT", "/scope/shop/cas/12"), "bazel put");
        assert_eq!(check("PROPFIND", "/webdav/a/b/c"), "webdav look");
        assert_eq!(check("DELETE", "/ccache/a/b"), "ccache remove");
        assert_eq!(check("POST", "/v8/artifacts"), "turborepo look");
        assert_eq!(check("POST", "/v8/artifacts/events"), "turborepo other");
        assert_eq!(check("GET", "/v1/cache/7"), "nx get");
        assert_eq!(check("PUT", "/gradle/7"), "gradle put");
        assert_eq!(check("POST", "/google.bytestream.ByteStream/Write"), "grpc put");
        let call = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
        assert_eq!(check("POST", call), "grpc get-result");
        for path in ["/", "", "/scope/", "/scope/x", "/v8", "/metrics", "/acorn", "//"] {
            assert_eq!(check("GET", path), "own other", "{path}");
        }
    }
}
